package main

import "context"

type microLine struct{}

var ipPath = "ip"

func vethNet(ctx context.Context) (wire, func(), error) { panic("x") }
func (r *runner) runMicro(ctx context.Context) error    { return nil }
func (r *runner) report(string) error                   { return nil }
