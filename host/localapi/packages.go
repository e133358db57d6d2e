package localapi

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// PackageBackend is a Backend that also knows whose modules it runs.
type PackageBackend interface {
	Packages() *v1.PackagesResponse
}

type packageService struct{ b PackageBackend }

var _ v1.PackageServiceHandler = packageService{}

func (s packageService) Packages(context.Context, *connect.Request[v1.PackagesRequest]) (*connect.Response[v1.PackagesResponse], error) {
	return connect.NewResponse(s.b.Packages()), nil
}

// mountPackages adds the service where the backend has it.
func mountPackages(mux *http.ServeMux, b Backend) {
	if p, ok := b.(PackageBackend); ok {
		mux.Handle(v1.NewPackageServiceHandler(packageService{p}, connect.WithCompression("gzip", nil, nil)))
	}
}
