package main

import (
	"encoding/json"
	"os"
	"runtime"
	"testing"

	"nethost/sdk"
	"nethost/sdk/sdktest"
)

func start(t *testing.T, m *hostinfo, config ...sdk.Pair) *sdktest.Harness {
	h := sdktest.NewHarness(t, m)
	h.Start(sdk.Start{Reason: sdk.StartFresh}, config...)
	return h
}

func call(t *testing.T, h *sdktest.Harness, methodName string) map[string]any {
	t.Helper()
	s := h.Call(ID, methodName, nil)
	if !s.FIN || s.WasReset {
		t.Fatalf("not answered: reset %v %q", s.WasReset, s.ResetText)
	}
	var got map[string]any
	if err := json.Unmarshal(s.Got, &got); err != nil {
		t.Fatalf("%q: %v", s.Got, err)
	}
	return got
}

func TestGetTellsOfThisMachine(t *testing.T) {
	got := call(t, start(t, newModule()), "get")
	if got["os"] != runtime.GOOS || got["arch"] != runtime.GOARCH || got["cores"] != float64(runtime.NumCPU()) {
		t.Errorf("got %v", got)
	}
	if _, told := got["hostname"]; told {
		t.Error("the hostname was told without being asked for")
	}
	if runtime.GOOS != "linux" {
		return
	}
	for _, pair := range [][2]string{{"memory_available", "memory_total"}, {"disk_free", "disk_total"}} {
		part, _ := got[pair[0]].(float64)
		whole, _ := got[pair[1]].(float64)
		if part <= 0 || whole <= 0 || part > whole {
			t.Errorf("%s %v of %v", pair[0], part, whole)
		}
	}
	if _, ok := got["load1"].(float64); !ok {
		t.Errorf("load1 is %v", got["load1"])
	}
}

func TestConfig(t *testing.T) {
	name, _ := os.Hostname()
	got := call(t, start(t, newModule(), sdk.Pair{Key: "hostname", Value: "true"}, sdk.Pair{Key: "disk", Value: "/no/such/place"}), "")
	if got["hostname"] != name {
		t.Errorf("hostname %v, want %q", got["hostname"], name)
	}
	if total, told := got["disk_total"]; told {
		t.Errorf("a disk that is not there has %v bytes", total)
	}
}

func TestUnknownMethod(t *testing.T) {
	s := start(t, newModule()).Call(ID, "reboot", nil)
	if !s.WasReset || s.ResetCode != sdk.Unimplemented {
		t.Fatalf("reset %v with %v", s.WasReset, s.ResetCode)
	}
}

// The bytes of a request mean nothing, however many come.
func TestRequestBytesAreSkipped(t *testing.T) {
	h := start(t, newModule())
	s := h.OpenStream(0, ID, sdk.Open{})
	for range 20 {
		s.Write(make([]byte, 30000), false)
		h.Run()
	}
	s.Write(nil, true)
	h.Run()
	if !s.FIN || len(s.Got) == 0 {
		t.Fatal("not answered")
	}
}

func TestResetAndDrain(t *testing.T) {
	h := start(t, newModule())
	s := h.OpenStream(0, ID, sdk.Open{})
	h.Run()
	h.Queue(sdk.Event{Kind: sdk.EvDrain, Arg: 1e9})
	h.Run()
	if drained(h) {
		t.Fatal("drained with a call open")
	}
	s.Reset(sdk.Cancelled, "")
	h.Run()
	if !drained(h) {
		t.Fatal("not drained")
	}
}

func drained(h *sdktest.Harness) bool {
	for _, e := range h.Effects {
		if e.Kind == sdk.OpDrained {
			return true
		}
	}
	return false
}
