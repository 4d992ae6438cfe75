package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// slow: what is said goes out a byte a second.
var slow atomic.Bool

const socketsEnv = "PLUGIN_UNIX_SOCKET_DIR"

// standBetween puts this process between the core and what go-plugin serves, so that
// bytes can be held back below everything that knows of messages.
func standBetween() error {
	outer := os.Getenv(socketsEnv)
	inner, err := os.MkdirTemp("", "inner")
	if err != nil {
		return err
	}
	if err := os.Setenv(socketsEnv, inner); err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	os.Stdout = write // where go-plugin says where it listens
	front, err := net.Listen("unix", filepath.Join(outer, "front"))
	if err != nil {
		return err
	}
	go func() {
		line, err := bufio.NewReader(read).ReadString('\n')
		if err != nil {
			crashed(err.Error())
		}
		parts := strings.Split(line, "|")
		behind := parts[3]
		parts[3] = front.Addr().String()
		fmt.Fprint(stdout, strings.Join(parts, "|"))
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			go pass(c, behind)
		}
	}()
	return nil
}

// pass carries one connection.
func pass(c net.Conn, behind string) {
	defer c.Close()
	to, err := net.Dial("unix", behind)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, c)
		to.Close()
	}()
	_, _ = io.Copy(trickling{c}, to)
}

// trickling writes as slowly as it is told.
type trickling struct{ to io.Writer }

func (t trickling) Write(p []byte) (int, error) {
	for n := range p {
		if !slow.Load() {
			m, err := t.to.Write(p[n:])
			return n + m, err
		}
		if _, err := t.to.Write(p[n : n+1]); err != nil {
			return n, err
		}
		time.Sleep(time.Second)
	}
	return len(p), nil
}
