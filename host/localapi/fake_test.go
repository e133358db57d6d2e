package localapi

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// fake is a node whose modules are:
//
//	echo    answers with what it got
//	refuse  is refused with the code in the metadata
//	break   answers "begun" and is reset with the code in the metadata
//	sink    takes nothing until released, then everything, and answers "taken"
//	source  answers for ever
//	big     answers 17 MiB
//	odd     fails with an error that has no code
type fake struct {
	events  chan *v1.Event // what Watch sends
	watched chan struct{}  // a token when a Watch ended
	resets  chan sdk.Code  // codes of resets while a stream was in use
	release chan struct{}  // closed: sink takes
	written atomic.Int64   // bytes source was able to say
	ends    atomic.Int64   // CloseWrites
}

func (*fake) Status() *v1.StatusResponse {
	return &v1.StatusResponse{Node: "me", Drops: map[string]uint64{"mac1": 3}}
}
func (*fake) Peers() *v1.PeersResponse {
	return &v1.PeersResponse{Peers: []*v1.Peer{{Node: "you"}}}
}
func (*fake) Routes() *v1.RoutesResponse {
	return &v1.RoutesResponse{Routes: []*v1.Route{{Node: "far"}}}
}
func (*fake) Sessions() *v1.SessionsResponse {
	return &v1.SessionsResponse{Sessions: []*v1.Session{{Node: "you", Agreed: true}}}
}
func (*fake) Modules() *v1.ModulesResponse {
	return &v1.ModulesResponse{Rejected: []*v1.Rejection{{Reason: "broken"}}}
}

func (b *fake) Watch(ctx context.Context, send func(*v1.Event) error) error {
	defer func() { b.watched <- struct{}{} }()
	if err := send(&v1.Event{}); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-b.events:
			if !ok {
				return nil
			}
			if err := send(e); err != nil {
				return err
			}
		}
	}
}

func (b *fake) Open(_ context.Context, t *v1.Target) (Stream, error) {
	code := sdk.Internal
	if len(t.Meta) > 0 {
		code = sdk.Code(t.Meta[0])
	}
	s := &fakeStream{b: b}
	s.r, s.far = io.Pipe()
	in, w := io.Pipe()
	s.w = w
	s.in = in
	switch t.Module {
	case "refuse":
		return nil, &Error{code, "no: " + code.String()}
	case "odd":
		return nil, errors.New("something odd")
	case "echo":
		go func() {
			_, err := io.Copy(s.far, in)
			s.far.CloseWithError(err)
		}()
	case "break":
		go func() {
			io.WriteString(s.far, "begun")
			in.CloseWithError(&Error{code, "broken: " + code.String()})
			s.far.CloseWithError(&Error{code, "broken: " + code.String()})
		}()
	case "sink":
		go func() {
			<-b.release
			io.Copy(io.Discard, in)
			io.WriteString(s.far, "taken")
			s.far.Close()
		}()
	case "source":
		go func() {
			piece := make([]byte, 16<<10)
			for {
				n, err := s.far.Write(piece)
				b.written.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	case "big":
		go func() {
			s.far.Write(make([]byte, 17<<20))
			s.far.Close()
		}()
	default:
		return nil, &Error{sdk.NotFound, "no module " + t.Module}
	}
	return s, nil
}

// fakeStream has both directions as pipes without buffer.
type fakeStream struct {
	b    *fake
	r    *io.PipeReader // what the module says
	far  *io.PipeWriter
	w    *io.PipeWriter // what it is told
	in   *io.PipeReader
	done sync.Once
	over atomic.Bool // the module's side has ended
}

func (s *fakeStream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil {
		s.over.Store(true)
	}
	return n, err
}
func (s *fakeStream) Write(p []byte) (int, error) { return s.w.Write(p) }

func (s *fakeStream) CloseWrite() error {
	s.b.ends.Add(1)
	return s.w.Close()
}

// Close of a stream that is not over is a reset, as it is for the host's.
func (s *fakeStream) Close() error {
	if !s.over.Load() {
		s.Reset(sdk.Cancelled, "")
	}
	return nil
}

func (s *fakeStream) Reset(code sdk.Code, text string) {
	s.done.Do(func() {
		s.far.CloseWithError(&Error{code, text})
		s.in.CloseWithError(&Error{code, text})
		s.b.resets <- code
	})
}

// serve runs a fake node until the test ends.
func serve(t *testing.T) (b *fake, path string) {
	t.Helper()
	dir := shortDir(t)
	b = &fake{events: make(chan *v1.Event), watched: make(chan struct{}, 100), resets: make(chan sdk.Code, 100), release: make(chan struct{})}
	path = filepath.Join(dir, "api.sock")
	s, err := Listen(path, b)
	if err != nil {
		t.Fatal(err)
	}
	if s.Path() != path {
		t.Errorf("the socket is at %s, not %s", s.Path(), path)
	}
	t.Cleanup(func() { s.Close() })
	return b, path
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
