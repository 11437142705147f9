// Command probe is what the tests of the node run in pods: it serves HTTP and does what the path says.
//
//	/              answers with the pod's name
//	/lookup?name=  answers with the addresses of a name
//	/fetch?url=    answers with what another server answers
//	/write?path=   answers with the error of writing a file there, or "written"
//	/fill          takes memory until it is killed
//
// On SIGTERM it goes on for the seconds of env LINGER, says so on standard output, and ends with exit code 7.
// `probe echo TEXT` prints the text and ends.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "echo" {
		fmt.Println(os.Args[2])
		return
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) {
		name, _ := os.Hostname()
		fmt.Fprint(answer, name)
	})
	http.HandleFunc("/lookup", lookup)
	http.HandleFunc("/fetch", fetch)
	http.HandleFunc("/write", write)
	http.HandleFunc("/fill", func(http.ResponseWriter, *http.Request) { fill() })
	go func() { panic(http.ListenAndServe(":8080", nil)) }()
	fmt.Println("serving")

	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	<-told
	linger, _ := strconv.Atoi(os.Getenv("LINGER"))
	fmt.Println("told to end")
	time.Sleep(time.Duration(linger) * time.Second)
	fmt.Println("ending")
	os.Exit(7)
}

func lookup(answer http.ResponseWriter, request *http.Request) {
	addresses, err := net.DefaultResolver.LookupHost(request.Context(), request.FormValue("name"))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusNotFound)
		return
	}
	fmt.Fprint(answer, strings.Join(addresses, " "))
}

func fetch(answer http.ResponseWriter, request *http.Request) {
	client := http.Client{Timeout: 5 * time.Second}
	other, err := client.Get(request.FormValue("url"))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadGateway)
		return
	}
	defer other.Body.Close()
	io.Copy(answer, other.Body)
}

func write(answer http.ResponseWriter, request *http.Request) {
	if err := os.WriteFile(request.FormValue("path"), []byte("x"), 0o600); err != nil {
		fmt.Fprint(answer, err)
		return
	}
	fmt.Fprint(answer, "written")
}

func fill() {
	var taken [][]byte
	for {
		block := make([]byte, 1<<20)
		// Memory counts when it is written to.
		for at := 0; at < len(block); at += 4096 {
			block[at] = 1
		}
		taken = append(taken, block)
	}
}
