package sdktest

import (
	"testing"

	"nethost/sdk"
)

// Counter checks a module that keeps the rules of subprotocols/wasm/counter: a number
// that calls add to, and how many messages came, both kept in the state. Each SDK has
// one.
func Counter(t *testing.T, open func(t *testing.T) Instance) {
	const id sdk.ID = 0xF100
	start := sdk.Start{StateLimit: 64 << 10}
	h := NewHarnessOver(t, open(t))
	h.Start(start)
	p := h.PeerUp(far, id, sdk.Version{Major: 1})
	answer := func(method, request, want string) {
		t.Helper()
		if s := h.Call(id, method, []byte(request)); s.WasReset || !s.FIN || string(s.Got) != want {
			t.Errorf("%q %q: answer %q, FIN %v, reset %v (%v %s), want %q", method, request, s.Got, s.FIN, s.WasReset, s.ResetCode, s.ResetText, want)
		}
	}
	refused := func(method, request string, code sdk.Code) {
		t.Helper()
		if s := h.Call(id, method, []byte(request)); !s.WasReset || s.ResetCode != code || s.ResetText == "" {
			t.Errorf("%q %q: answer %q, reset %v with %v %q, want a reset with %v and a reason", method, request, s.Got, s.WasReset, s.ResetCode, s.ResetText, code)
		}
	}
	answer("get", "", "0")
	answer("", "", "0")
	answer("add", "40", "40")
	answer("add", "+3\n", "43")
	answer("add", "-1\r\n", "42")
	h.Message(p, []byte("one"))
	h.Message(p, nil)
	answer("messages", "", "2")
	for _, bad := range []string{"", "-", "+", "x", "1x", " 1", "1.5", "0x10", "9223372036854775808", "-9223372036854775809", "--1", "\n"} {
		refused("add", bad, sdk.InvalidArgument)
	}
	refused("add", "00000000000000000000000000000000001", sdk.InvalidArgument)
	refused("add", "9223372036854775807", sdk.InvalidArgument)
	refused("sub", "1", sdk.Unimplemented)
	answer("get", "", "42")

	s := h.OpenStream(p, id, sdk.Open{Method: "add"}) // in pieces, over several batches
	for i, piece := range []string{"10", "0", ""} {
		s.Write([]byte(piece), i == 2)
		h.Run()
	}
	if string(s.Got) != "142" {
		t.Errorf("a number in pieces: %q", s.Got)
	}
	gone := h.OpenStream(p, id, sdk.Open{Method: "add"})
	h.Run()
	gone.Reset(sdk.Cancelled, "")
	h.Run()

	h.Restart(open(t), start)
	answer("get", "", "142")
	answer("messages", "", "2")
	answer("add", "-9223372036854775808", "-9223372036854775666")
	refused("add", "-9223372036854775808", sdk.InvalidArgument)
	h.State["value"] = []byte("rubbish")
	h.Restart(open(t), start)
	answer("get", "", "0")
	answer("messages", "", "2")
}
