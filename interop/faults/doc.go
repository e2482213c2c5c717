// Package faults tests what a cluster of whole servers survives: servers of package sockeye with each adapter of
// redisadapter, real clients, and a real Redis in the shapes there are. Servers that are killed or frozen are processes
// of their own: the test binary, started again.
//
// Each test proves that the fault happened. What counts is what arrives: publishers number what they send, and for each
// publisher a client tells what was lost, doubled or out of order. FAULT_ROUNDS=n repeats the faults that come in rounds
// n times, for campaigns.
//
// Not in this package: anything to import. It has tests only. What redisadapter's and the drivers' own tests show of
// single adapters is not repeated here: poisoned messages (TestPubSub_Malformed, TestSharded_Malformed,
// TestStreams_Poison).
package faults
