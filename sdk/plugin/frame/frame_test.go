package frame

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

const limit = 1 << 12

func TestRoundTrip(t *testing.T) {
	var want [][]byte
	var stream []byte
	for _, n := range []int{0, 1, 40, limit, 3, limit - 1, limit, 0} {
		want = append(want, bytes.Repeat([]byte{byte(n)}, n))
		stream = Append(stream, want[len(want)-1])
	}
	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "bytewise": iotest.OneByteReader(bytes.NewReader(stream)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		r := NewReader(src, limit)
		for i, w := range want {
			got, err := r.Next()
			if err != nil || !bytes.Equal(got, w) {
				t.Fatalf("%s: frame %d: %d bytes, %v; want %d", name, i, len(got), err, len(w))
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("%s: at the end: %v", name, err)
		}
	}
}

func TestTruncation(t *testing.T) {
	whole := Append(nil, []byte("a batch"))
	for n := 1; n < len(whole); n++ {
		if _, err := NewReader(bytes.NewReader(whole[:n]), limit).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func TestTooLong(t *testing.T) {
	for _, head := range [][]byte{{1, 16, 0, 0}, {255, 255, 255, 255}} {
		if _, err := NewReader(bytes.NewReader(head), limit).Next(); !errors.Is(err, ErrTooLong) {
			t.Errorf("%v: %v", head, err)
		}
	}
}

func TestAllocs(t *testing.T) {
	pipe := new(bytes.Buffer)
	w, r := NewWriter(pipe), NewReader(pipe, limit)
	batch := make([]byte, 1024)
	if n := testing.AllocsPerRun(100, func() { w.Write(batch); r.Next() }); n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(Append(Append(nil, []byte("one")), nil))
	f.Add([]byte{255, 255, 255, 255})
	f.Add([]byte{5, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), limit)
		var out []byte
		for {
			b, err := r.Next()
			if err != nil {
				break
			}
			out = Append(out, b)
		}
		if !bytes.HasPrefix(in, out) {
			t.Fatal("what was read and written again is not what came in")
		}
	})
}
