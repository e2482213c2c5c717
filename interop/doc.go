// Package interop tests the server against the official JavaScript packages: clients of generations 2, 3 and
// 4, servers with the Redis adapters, their emitters, and the browser bundle on the demo page. The packages are
// pinned in node/package.json; "make setup" installs them.
//
// TestMatrix writes docs/compat-redis.md with UPDATE_DOCS=1 and compares itself with it otherwise. With
// INTEROP_ALL_NODE=1 clusters have Node servers where ours would be: what fails then asks too much of Node.
//
// Not in this package: anything to import. It has tests only.
package interop
