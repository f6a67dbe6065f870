package flight_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// jdbcDriver is where make jdbc puts the Arrow Flight SQL JDBC driver.
const jdbcDriver = "../build/jdbc/flight-sql-jdbc-driver-18.3.0.jar"

// The real JDBC driver, in a real JVM.
func TestJDBC(t *testing.T) {
	if _, err := exec.LookPath("javac"); err != nil {
		t.Skip("there is no Java on this machine: install a JDK to test with the JDBC driver")
	}
	driver, err := filepath.Abs(jdbcDriver)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(driver); err != nil {
		if _, err := exec.LookPath("mvn"); err != nil {
			t.Skip("there is no Maven on this machine, with which make jdbc gets the driver")
		}
		t.Fatalf("the JDBC driver is not there: run make jdbc (%v)", err)
	}
	d := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// The driver opens Java's own memory by reflection. It shifts times with a zone by
	// the JVM's own, so that must be UTC.
	tour := exec.CommandContext(ctx, "java", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-Duser.timezone=UTC",
		"-cp", driver, "testdata/jdbc/Tour.java", "jdbc:arrow-flight-sql://"+d.address)
	var errors strings.Builder
	tour.Stderr = &errors
	out, err := tour.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errors.String())
	}
	want, err := os.ReadFile("testdata/jdbc/tour.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(want) {
		t.Errorf("the tour saw\n%s\nwant\n%s\nlog:\n%s", out, want, d.log)
	}
}
