// Posts over HTTP/2 with Go's client: URL, number of requests (0: until the server takes no more), and for TLS the file of an
// authority. Says how many were answered over HTTP/2, and how many were lost, why the first.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

const threads = 16

func client() *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	if len(os.Args) > 3 {
		pem, err := os.ReadFile(os.Args[3])
		if err != nil {
			panic(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Client{Transport: transport}
}

func post(client *http.Client) error {
	answer, err := client.Post(os.Args[1], "application/json", bytes.NewReader([]byte(`{"x": [1]}`)))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.Proto != "HTTP/2.0" || answer.StatusCode != 200 || string(body) != `{"y":[2.5]}` {
		return fmt.Errorf("%s %s %s", answer.Proto, answer.Status, body)
	}
	return nil
}

func main() {
	requests, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		panic(err)
	}
	var begun, answered, lost atomic.Int64
	var first atomic.Value
	first.Store("none")
	var group sync.WaitGroup
	client := client()
	for range threads {
		group.Add(1)
		go func() {
			defer group.Done()
			for requests == 0 || begun.Add(1) <= requests {
				err := post(client)
				if err == nil {
					answered.Add(1)
				} else if requests == 0 && errors.Is(err, syscall.ECONNREFUSED) {
					return
				} else {
					lost.Add(1)
					first.CompareAndSwap("none", err.Error())
				}
			}
		}()
	}
	group.Wait()
	fmt.Printf("answered %d, lost %d: %s\n", answered.Load(), lost.Load(), first.Load())
}
