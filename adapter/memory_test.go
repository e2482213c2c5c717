package adapter

import (
	"errors"
	"testing"
)

func TestMemory_Misuse(t *testing.T) {
	t.Parallel()
	c := Memory()
	a, err := c.Open(newHost("/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.(Recoverer); ok {
		t.Error("recovers without being asked to")
	}
	if err := c.(RecoveryCluster).EnableRecovery(RecoveryOptions{}); err == nil {
		t.Error("recovery enabled after Open")
	}
	if _, err := c.Open(newHost("/")); !errors.Is(err, ErrOpen) {
		t.Errorf("opened twice: error %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Open(newHost("/")); err != nil {
		t.Errorf("opened again: error %v", err)
	}
	if err := c.Health(); err != nil {
		t.Errorf("health %v", err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Open(newHost("/x")); !errors.Is(err, ErrClosed) {
		t.Errorf("opened after Close: error %v", err)
	}
	if err := c.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("started after Close: error %v", err)
	}
}
