package main

import (
	"testing"

	"nethost/sdk/sdktest"
)

// The counters of all SDKs keep the same rules.
func TestCounterOfTheSDKs(t *testing.T) {
	sdktest.Counter(t, func(*testing.T) sdktest.Instance { return sdktest.InProcess(New()) })
}
