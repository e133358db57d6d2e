package process

import (
	"context"
	"testing"

	"nethost/sdk"
	"nethost/sdk/sdktest"
	"nethost/sdk/sdktest/holdback"
	"nethost/subprotocols/builtin/echo"
)

// The carrier does to the echo module what every other carrier does.
func TestConform(t *testing.T) {
	sdktest.Conform(t, opener(t, "echo", echo.New().Describe().Subprotocols))
}

// ... and holds messages back as every other does.
func TestHoldBack(t *testing.T) {
	sdktest.ConformHoldBack(t, opener(t, "holdback", holdback.Subprotocols()))
}

func opener(t *testing.T, name string, ids []sdk.Subprotocol) func(t *testing.T) sdktest.Instance {
	s := spec(t, name)
	s.Subprotocols = ids
	carrier := New(Options{})
	return func(t *testing.T) sdktest.Instance {
		in, err := carrier.Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		return in
	}
}
