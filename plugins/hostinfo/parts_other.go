//go:build !linux

package main

// machineParts knows of none here.
func machineParts() []string { return nil }
