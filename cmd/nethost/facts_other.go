//go:build !linux

package main

// systemFacts knows nothing here beside what the host itself does.
func systemFacts(string) []string { return nil }
