package sdk

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes this test binary a plugin: the child process of TestServe….
const childEnv = "KELPIE_SDK_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		Serve(childPlugin())
	}
	goleak.VerifyTestMain(m)
}
