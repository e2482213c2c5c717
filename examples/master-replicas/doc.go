// Package masterreplicas is an example without code of its own: two servers, a Redis master and its replicas, and a shell
// that sends events. See README.md; its test does what the README says.
package masterreplicas
