package wasm

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Cost is what metering costs an exported function of a guest.
type Cost struct {
	Plain, Metered time.Duration // of one call, the best of all rounds
	Ratio          float64       // Metered over Plain
	Units          int64         // of fuel that a call is charged
}

// MeasureCost calls an export of type (i32) -> i64 again and again, in turns in the
// guest as it came and as the loader makes it. Nothing stops the former: it is for
// guests that are known to end. The two must give the same result.
func MeasureCost(bin []byte, export string, arg uint32, rounds int) (Cost, error) {
	out, rep, err := Rewrite(bin, Options{MemoryPages: 512, InitFuel: math.MaxInt64, StackBytes: stackBytes})
	if err != nil {
		return Cost{}, err
	}
	if len(rep.imports) > 0 {
		return Cost{}, fmt.Errorf("imports %s: only guests without imports can be measured", rep.imports[0].name)
	}
	ctx := context.Background()
	plain, closePlain, err := exported(ctx, bin, export)
	if err != nil {
		return Cost{}, err
	}
	defer closePlain()
	metered, closeMetered, err := exported(ctx, out, export)
	if err != nil {
		return Cost{}, err
	}
	defer closeMetered()
	fuel := metered.mod.ExportedGlobal(exportFuel).(api.MutableGlobal)
	c := Cost{Plain: time.Hour, Metered: time.Hour}
	for range rounds {
		before := int64(fuel.Get())
		on, a, err := metered.call(ctx, arg)
		if err != nil {
			return Cost{}, err
		}
		c.Units = before - int64(fuel.Get())
		off, b, err := plain.call(ctx, arg)
		if err != nil {
			return Cost{}, err
		}
		if a != b {
			return Cost{}, fmt.Errorf("%s(%d) gives %d metered and %d plain", export, arg, a, b)
		}
		c.Plain, c.Metered = min(c.Plain, off), min(c.Metered, on)
	}
	c.Ratio = float64(c.Metered) / float64(max(c.Plain, 1))
	return c, nil
}

type exportedFunc struct {
	mod api.Module
	f   api.Function
}

func (e exportedFunc) call(ctx context.Context, arg uint32) (time.Duration, uint64, error) {
	stack := [1]uint64{uint64(arg)}
	began := time.Now()
	err := e.f.CallWithStack(ctx, stack[:])
	return time.Since(began), stack[0], err
}

func exported(ctx context.Context, bin []byte, name string) (exportedFunc, func(), error) {
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(512))
	closeAll := func() { _ = rt.Close(ctx) }
	mod, err := rt.Instantiate(ctx, bin)
	if err != nil {
		closeAll()
		return exportedFunc{}, nil, err
	}
	f := mod.ExportedFunction(name)
	if f == nil || !slices.Equal(f.Definition().ParamTypes(), []api.ValueType{api.ValueTypeI32}) ||
		!slices.Equal(f.Definition().ResultTypes(), []api.ValueType{api.ValueTypeI64}) {
		closeAll()
		return exportedFunc{}, nil, fmt.Errorf("exports no %s of type (i32) -> i64", name)
	}
	return exportedFunc{mod, f}, closeAll, nil
}
