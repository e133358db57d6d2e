// Package nethost is the root of the module: it holds no code but the test that
// guards the architecture. The map of the house is in README.md.
package nethost
