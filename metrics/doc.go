// Package metrics gives what a server counts to Prometheus: connections by transport and protocol, sockets and rooms by
// namespace, events, bytes, queues, acknowledgements and how long they take, recoveries, and what an adapter does with
// Redis. A dashboard over these metrics is in deploy/grafana.
//
// No label has what a client chose: dynamic namespaces are one, and only the events that the application names are
// measured by name.
//
// Not in this package: counting, which the server does itself (sockeye.Server.Stats), and traces (oteltrace).
package metrics
