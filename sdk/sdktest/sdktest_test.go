package sdktest_test

import (
	"testing"

	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin/echo"
)

func TestConformInProcess(t *testing.T) {
	sdktest.Conform(t, func(*testing.T) sdktest.Instance { return sdktest.InProcess(echo.New()) })
}
