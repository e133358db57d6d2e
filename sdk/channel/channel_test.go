package channel

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"nethost/sdk"
)

func example() Event {
	parent := EventID{"p", sdk.NodeID{2}, 3, 4}
	return Event{EventID: EventID{"a/b", sdk.NodeID{1}, 7, 9}, Hops: 1, Missed: 5, Parent: &parent, Data: []byte("hi")}
}

// TestRecord: H3.1 and H3.2: the bytes, and back.
func TestRecord(t *testing.T) {
	e := example()
	b := AppendEvent(nil, &e)
	zeros := strings.Repeat("00", 31)
	want := "6b000000" + "01" + "01" + zeros + "07000000" + "0900000000000000" + "03" + "612f62" + "01" + "0500000000000000" +
		"01" + "02" + zeros + "03000000" + "0400000000000000" + "01" + "70" + "6869"
	if is := hex.EncodeToString(b); is != want {
		t.Errorf("an event is\n%s, want\n%s", is, want)
	}
	n := Notice{Notice: "refused", Channel: "a", Code: 3, Text: "no"}
	b = AppendNotice(b, &n)
	rec, rest, err := TakeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if is, _, err := ParseRecord(rec); err != nil || !reflect.DeepEqual(*is, e) {
		t.Errorf("%+v %v", is, err)
	}
	rec, rest, err = TakeRecord(rest)
	if err != nil || len(rest) != 0 {
		t.Fatal(err)
	}
	if _, is, err := ParseRecord(rec); err != nil || *is != n {
		t.Errorf("%+v %v", is, err)
	}
	for i := range len(b) - 1 {
		if rec, _, err := TakeRecord(b[:i]); err != nil || rec != nil && i < 4+0x6b {
			t.Fatalf("%d bytes: %v %v", i, rec, err)
		}
	}
}

// TestRefused: H3.3.
func TestRefused(t *testing.T) {
	e := example()
	rec := AppendEvent(nil, &e)[4:]
	for what, change := range map[string]func([]byte) []byte{
		"kind": func(b []byte) []byte { b[0] = 9; return b }, "no sequence": func(b []byte) []byte { clear(b[37:45]); return b },
		"no name": func(b []byte) []byte { b[46] = '*'; return b }, "flags": func(b []byte) []byte { b[58] = 2; return b }, "cut": func(b []byte) []byte { return b[:50] },
		"empty": func(b []byte) []byte { return nil }, "no publisher": func(b []byte) []byte { b[1] = 0; return b },
		"long": func(b []byte) []byte { return append(b, make([]byte, MaxEvent)...) },
	} {
		if e, n, err := ParseRecord(change(bytes.Clone(rec))); err == nil {
			t.Errorf("%s: %+v %+v", what, e, n)
		}
	}
	if _, _, err := TakeRecord([]byte{0xff, 0xff, 0xff, 0x7f}); err == nil {
		t.Error("a record of 2 GiB")
	}
}

// TestLine: H2: text as text, else base64.
func TestLine(t *testing.T) {
	e := example()
	if b, _ := json.Marshal(LineOf(&e)); !strings.Contains(string(b), `"text":"hi"`) || !strings.Contains(string(b), `"seq":4`) {
		t.Errorf("%s", b)
	}
	e.Data, e.Parent = []byte{0xff}, nil
	if b, _ := json.Marshal(LineOf(&e)); !strings.Contains(string(b), `"data":"/w=="`) || strings.Contains(string(b), "text") {
		t.Errorf("%s", b)
	}
}

// TestHeader: H1, H2: a line, in pieces, and none.
func TestHeader(t *testing.T) {
	var h Publish
	if _, done, err := TakeHeader([]byte(`{"channel":"a"`), false, &h); done || err != nil {
		t.Error(done, err)
	}
	rest, done, err := TakeHeader([]byte("{\"channel\":\"a\"}\nx"), false, &h)
	if !done || err != nil || string(rest) != "x" || h.Channel != "a" {
		t.Errorf("%q %v %v %+v", rest, done, err, h)
	}
	if _, _, err := TakeHeader(make([]byte, MaxHeader+1), false, &h); err == nil {
		t.Error("a line without an end")
	}
}

// FuzzRecord: what parses has one spelling.
func FuzzRecord(f *testing.F) {
	e := example()
	f.Add(AppendEvent(nil, &e)[4:])
	f.Add(AppendNotice(nil, &Notice{Notice: "ready"})[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, n, err := ParseRecord(b)
		switch {
		case err != nil:
		case e != nil:
			if again := AppendEvent(nil, e)[4:]; !bytes.Equal(again, b) {
				t.Fatalf("%x is written %x", b, again)
			}
		case n == nil || n.Notice == "":
			t.Fatal("neither event nor notice")
		}
	})
}

// FuzzBody: the same for what a publisher sends, in records.
func FuzzBody(f *testing.F) {
	e := example()
	f.Add(AppendPublish(nil, e.Parent, e.Data))
	f.Add(AppendPublish(nil, nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, _, err := TakeRecord(b)
		if err != nil || rec == nil {
			return
		}
		parent, data, err := ParseBody(rec)
		if err != nil {
			return
		}
		if again := AppendBody(nil, parent, data); !bytes.Equal(again, rec) {
			t.Fatalf("%x is written %x", rec, again)
		}
	})
}

// FuzzHeader: the first line, whatever comes.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("{\"pattern\":\"a\"}\n"), false)
	f.Add([]byte("{}"), true)
	f.Fuzz(func(t *testing.T, b []byte, fin bool) {
		var h Subscribe
		if rest, done, err := TakeHeader(b, fin, &h); done && (err != nil || len(rest) > len(b)) {
			t.Fatal(err)
		}
	})
}
