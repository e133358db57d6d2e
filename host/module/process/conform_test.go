package process

import (
	"context"
	"testing"

	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin/echo"
)

// The carrier does to the echo module what every other carrier does.
func TestConform(t *testing.T) {
	s := spec(t, "echo")
	s.Subprotocols = echo.New().Describe().Subprotocols
	carrier := New(Options{})
	sdktest.Conform(t, func(t *testing.T) sdktest.Instance {
		in, err := carrier.Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		return in
	})
}
