// Package interop tests the server against the official JavaScript packages: clients of generations 2, 3 and
// 4, servers with the Redis adapter, and the browser bundle on the demo page. The packages are pinned in
// node/package.json; "make setup" installs them.
//
// Not in this package: anything to import. It has tests only.
package interop
