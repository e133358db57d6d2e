package process

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestModuleDirIsAbsolute: a host that was given its plugin directory as a relative path
// names the package's folder so that a program finds it from its own working directory.
func TestModuleDirIsAbsolute(t *testing.T) {
	s := spec(t, "good")
	want := s.Dir
	t.Chdir(filepath.Dir(s.Dir))
	s.Dir = filepath.Base(s.Dir)
	if env := open(t, Options{}, s).ask("env"); !strings.Contains(env, "NETHOST_MODULE_DIR="+want) {
		t.Errorf("environment:\n%s", env)
	}
}
