// Package nethost is the root of the module: the SDKs as files, and the test that
// guards the architecture. The map of the house is in README.md.
package nethost
