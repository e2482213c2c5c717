package ring

import "testing"

func TestRing_IsAQueue(t *testing.T) {
	t.Parallel()
	seed := uint64(1)
	var ring Ring[int]
	var model []int
	for i := range 100_000 {
		// Long runs of one kind make it grow and shrink.
		seed = seed*6364136223846793005 + 1442695040888963407
		if push := seed>>33%40 != 0; (i/300%2 == 0) == push {
			ring.Push(i)
			model = append(model, i)
		} else {
			v, ok := ring.Pop()
			if ok != (len(model) > 0) {
				t.Fatalf("step %d: ok = %v with %d elements", i, ok, len(model))
			}
			if ok {
				if v != model[0] {
					t.Fatalf("step %d: got %d, want %d", i, v, model[0])
				}
				model = model[1:]
			}
		}
		if ring.Len() != len(model) {
			t.Fatalf("step %d: %d elements, want %d", i, ring.Len(), len(model))
		}
	}
}

func TestRing_KeepsLittleWhenEmpty(t *testing.T) {
	t.Parallel()
	var ring Ring[*int]
	for range 100 {
		ring.Push(new(int))
	}
	for range 100 {
		ring.Pop()
	}
	if len(ring.buf) > minCap {
		t.Errorf("an empty ring keeps %d slots", len(ring.buf))
	}
	ring.Push(new(int))
	ring.Pop()
	for i, p := range ring.buf {
		if p != nil {
			t.Errorf("slot %d holds on to its element", i)
		}
	}
	ring.Push(new(int))
	if ring.Reset(); ring.Len() != 0 || ring.buf != nil {
		t.Error("Reset leaves something")
	}
}

func TestRing_AllocatesNothingWhileSmall(t *testing.T) {
	var ring Ring[int]
	ring.Push(1)
	if n := testing.AllocsPerRun(100, func() {
		for i := range minCap - 1 {
			ring.Push(i)
		}
		for range minCap - 1 {
			ring.Pop()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
