package localapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// post does what curl --unix-socket does: HTTP/1.1, one connection a request.
func post(ctx context.Context, t *testing.T, path, method, contentType, body string) *http.Response {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	r, err := http.NewRequestWithContext(ctx, "POST", "http://nethost/nethost.v1.NodeService/"+method, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.ProtoMajor != 1 {
		t.Errorf("%s was answered over %s", method, resp.Proto)
	}
	return resp
}

func callBody(module, data string) string {
	return fmt.Sprintf(`{"target":{"module":%q},"data":%q}`, module, base64.StdEncoding.EncodeToString([]byte(data)))
}

// unary is the table of what JSON gets.
var unary = []struct {
	method, body string
	status       int
	want         string
}{
	{"Status", "{}", 200, `"node":"me"`},
	{"Peers", "{}", 200, `"node":"you"`},
	{"Routes", "{}", 200, `"node":"far"`},
	{"Sessions", "{}", 200, `"agreed":true`},
	{"Modules", "{}", 200, `"reason":"broken"`},
	{"Call", callBody("echo", "hello"), 200, `{"data":"aGVsbG8="}`},
	{"Call", callBody("echo", ""), 200, `{}`},
	{"Call", "{}", 400, "target.module"},
	{"Call", "{", 400, "invalid_argument"},
	{"Call", callBody("nobody", ""), 404, "no module nobody"},
	{"Call", callBody("big", ""), 429, "use Stream or Subscribe"},
	{"Call", callBody("odd", ""), 500, "something odd"},
	{"Nonsense", "{}", 404, ""},
}

func TestJSON(t *testing.T) {
	_, path := serve(t)
	for _, c := range unary {
		r := post(t.Context(), t, path, c.method, "application/json", c.body)
		out, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != c.status || !strings.Contains(string(out), c.want) {
			t.Errorf("%s %s: %d %.200s %v; want %d with %s", c.method, c.body, r.StatusCode, out, err, c.status, c.want)
		}
	}
	r := post(t.Context(), t, path, "Call", "application/json", `{"target":{"module":"refuse","meta":"CQ=="}}`)
	if got := r.Header.Get(CodeHeader); got != fmt.Sprint(uint32(sdk.NoRoute)) {
		t.Errorf("the header %s is %q, want the number of NoRoute", CodeHeader, got)
	}
	long := callBody("echo", strings.Repeat("x", maxRequest))
	r = post(t.Context(), t, path, "Call", "application/json", long)
	if out, _ := io.ReadAll(r.Body); r.StatusCode != 429 {
		t.Errorf("a request of %d bytes: %d %.200s", len(long), r.StatusCode, out)
	}
}

// TestCurl repeats the table with curl itself.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl on this machine: TestJSON says the same bytes through net/http")
	}
	_, path := serve(t)
	for _, c := range unary {
		out, err := exec.Command(curl, "-s", "--unix-socket", path, "-w", "\n%{http_code}", "-H", "Content-Type: application/json",
			"-d", c.body, "http://nethost/nethost.v1.NodeService/"+c.method).CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), fmt.Sprintf("\n%d", c.status)) || !strings.Contains(string(out), c.want) {
			t.Errorf("%s %s: %s %v", c.method, c.body, out, err)
		}
	}
}

// frame is a message of Connect's streaming: flags, length, JSON.
func frame(body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))) + body
}

// next reads one frame.
func next(t *testing.T, r io.Reader) (flags byte, body []byte) {
	t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	body = make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatal(err)
	}
	return head[0], body
}

const endOfStream = 2 // the flag of Connect's last frame

func TestSubscribeJSON(t *testing.T) {
	_, path := serve(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 20000) // 5 pieces
	r := post(t.Context(), t, path, "Subscribe", "application/connect+json", frame(callBody("echo", string(sent))))
	var got []byte
	for frames := 0; ; frames++ {
		flags, body := next(t, r.Body)
		if flags&endOfStream != 0 {
			if string(body) != "{}" || frames < 2 {
				t.Errorf("%d frames, then %s", frames, body)
			}
			break
		}
		var chunk struct{ Data []byte }
		if err := json.Unmarshal(body, &chunk); err != nil {
			t.Fatal(err)
		}
		got = append(got, chunk.Data...)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back, or others", len(got), len(sent))
	}
	// A failure on the way stands in the last frame.
	r = post(t.Context(), t, path, "Subscribe", "application/connect+json", frame(`{"target":{"module":"break","meta":"CQ=="}}`))
	if flags, body := next(t, r.Body); flags != 0 || !strings.Contains(string(body), base64.StdEncoding.EncodeToString([]byte("begun"))) {
		t.Errorf("flags %d, %s", flags, body)
	}
	flags, body := next(t, r.Body)
	if flags&endOfStream == 0 || !strings.Contains(string(body), `"unavailable"`) || !strings.Contains(string(body), "broken: "+sdk.NoRoute.String()) {
		t.Errorf("flags %d, %s", flags, body)
	}
}

// TestWatchJSON: events come one by one, and a watcher that goes away ends its
// Watch.
func TestWatchJSON(t *testing.T) {
	b, path := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := post(ctx, t, path, "Watch", "application/connect+json", frame("{}"))
	next(t, r.Body) // says that it watches
	for i := range 3 {
		b.events <- &v1.Event{Kind: "tick", Text: fmt.Sprint(i)}
		if _, body := next(t, r.Body); !strings.Contains(string(body), fmt.Sprintf(`"text":"%d"`, i)) {
			t.Errorf("event %d: %s", i, body)
		}
	}
	cancel()
	<-b.watched
}

// TestCallerGoesAway: a caller that drops its HTTP/1.1 connection resets the
// module's stream.
func TestCallerGoesAway(t *testing.T) {
	b, path := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := post(ctx, t, path, "Subscribe", "application/connect+json", frame(callBody("source", "")))
	next(t, r.Body)
	cancel()
	if code := <-b.resets; code != sdk.Cancelled {
		t.Errorf("reset with %v", code)
	}
}
