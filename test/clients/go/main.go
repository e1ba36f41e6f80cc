// Pays once over a connection that is open already, as a Go service would, and prints the status and the answer.
// Go's transport sends a POST again by itself if its connection breaks and it has an Idempotency-Key.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	url, key := os.Args[1], os.Args[2]
	// The certificate of the tests was made by themselves.
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	warm, err := http.Get(url + "/ready")
	exitOn(err)
	_, err = io.Copy(io.Discard, warm.Body)
	exitOn(err)
	exitOn(warm.Body.Close())

	request, err := http.NewRequest("POST", url+"/pay", strings.NewReader(`{"amount":1999}`))
	exitOn(err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(request)
	exitOn(err)
	body, err := io.ReadAll(response.Body)
	exitOn(err)
	fmt.Printf("%s\n%d", body, response.StatusCode)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
