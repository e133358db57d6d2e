package sdktest_test

import (
	"testing"

	"nethost/sdk/sdktest"
	"nethost/sdk/sdktest/holdback"
	"nethost/subprotocols/builtin/echo"
)

func TestConformInProcess(t *testing.T) {
	sdktest.Conform(t, func(*testing.T) sdktest.Instance { return sdktest.InProcess(echo.New()) })
}

// TestHoldBack is the suite of carriers with a module that holds back, in process.
func TestHoldBack(t *testing.T) {
	sdktest.ConformHoldBack(t, func(*testing.T) sdktest.Instance { return sdktest.InProcess(holdback.New()) })
}
