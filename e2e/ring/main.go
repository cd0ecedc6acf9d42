// SPDX-License-Identifier: Apache-2.0

// A member of a ring by HashiCorp's memberlist, as MetalLB's speaker uses it: the judge of the crate members, and with -answer a
// speaker as MetalLB's (speaker.go).
//
// Events go to standard output as JSON, one a line: {"event":"join|leave|update","name":...,"address":...,"meta":hex}, and
// {"event":"ready"} once it listens. Commands come by standard input, one a line, and each is answered by a line:
// "join ADDRESS...", "leave", "meta HEX", "members", "quit". The end of the input ends it like a crash. With -answer there are no commands:
// SIGTERM ends it as it ends a speaker of MetalLB.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// line is what is printed.
type line struct {
	Event   string   `json:"event"`
	Name    string   `json:"name,omitempty"`
	Address string   `json:"address,omitempty"`
	Meta    string   `json:"meta,omitempty"`
	Error   string   `json:"error,omitempty"`
	Count   int      `json:"count,omitempty"`
	Members []member `json:"members,omitempty"`
	Owned   []string `json:"owned,omitempty"`
}

type member struct {
	Name     string   `json:"name"`
	Address  string   `json:"address"`
	Meta     string   `json:"meta"`
	State    int      `json:"state"`
	Versions [6]uint8 `json:"versions"`
}

var printing sync.Mutex

func print(what line) {
	printing.Lock()
	defer printing.Unlock()
	text, err := json.Marshal(what)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
}

// reporter hears of changes, and knows our own meta data.
type reporter struct {
	lock sync.Mutex
	meta []byte
	// changed hears of every join, leave and update, unless it is full: then it has something to look at anyway.
	changed chan struct{}
}

func (r *reporter) tell(event string, node *memberlist.Node) {
	print(of(event, node))
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func of(event string, node *memberlist.Node) line {
	return line{Event: event, Name: node.Name, Address: node.Address(), Meta: hex.EncodeToString(node.Meta)}
}

func (r *reporter) NotifyJoin(node *memberlist.Node)   { r.tell("join", node) }
func (r *reporter) NotifyLeave(node *memberlist.Node)  { r.tell("leave", node) }
func (r *reporter) NotifyUpdate(node *memberlist.Node) { r.tell("update", node) }

func (r *reporter) NotifyConflict(existing, other *memberlist.Node) {
	print(line{Event: "conflict", Name: other.Name, Address: other.Address()})
}

func (r *reporter) NodeMeta(limit int) []byte {
	r.lock.Lock()
	defer r.lock.Unlock()
	return append([]byte(nil), r.meta...)
}

func (r *reporter) setMeta(meta []byte) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.meta = meta
}

func (r *reporter) NotifyMsg([]byte)                           {}
func (r *reporter) GetBroadcasts(overhead, limit int) [][]byte { return nil }
func (r *reporter) LocalState(join bool) []byte                { return nil }
func (r *reporter) MergeRemoteState(buf []byte, join bool)     {}

func main() {
	name := flag.String("name", "", "name of the member")
	bind := flag.String("bind", "127.0.0.1", "address to listen on, which is also told to the others")
	port := flag.Int("port", 7946, "UDP and TCP port")
	keyFile := flag.String("key-file", "", "file with the secret; without it nothing is encrypted")
	label := flag.String("label", "", "label of packets and streams")
	wan := flag.Bool("wan", false, "the library's settings for wide area networks")
	configFile := flag.String("config", "", "config.json, which decides instead of -wan")
	version := flag.Int("protocol", memberlist.ProtocolVersion2Compatible, "protocol version")
	plain := flag.Bool("no-compression", false, "do not compress")
	meta := flag.String("meta", "", "meta data in hexadecimal")
	join := flag.String("join", "", "addresses to join, separated by commas")
	verbose := flag.Bool("verbose", false, "the library's log on standard error")
	answer := flag.String("answer", "", "play a speaker of MetalLB for these IPv4 addresses, separated by commas")
	link := flag.String("interface", "eth0", "where it answers")
	flag.Parse()

	config := memberlist.DefaultLANConfig()
	if *wan {
		config = memberlist.DefaultWANConfig()
	}
	if *configFile != "" {
		text, err := os.ReadFile(*configFile)
		if err != nil {
			log.Fatal(err)
		}
		var settings file
		if err := json.Unmarshal(text, &settings); err != nil {
			log.Fatal(err)
		}
		config = memberlist.DefaultLANConfig()
		settings.apply(config)
	}
	if *plain {
		config.EnableCompression = false
	}
	config.Name = *name
	config.BindAddr = *bind
	config.BindPort = *port
	config.AdvertisePort = *port
	config.Label = *label
	config.ProtocolVersion = uint8(*version)
	if *keyFile != "" {
		secret, err := os.ReadFile(*keyFile)
		if err != nil {
			log.Fatal(err)
		}
		// What MetalLB does: the digest's Sum appends to the content.
		config.SecretKey = sha256.New().Sum(secret)[:32]
	}
	reporter := &reporter{meta: decode(*meta), changed: make(chan struct{}, 1)}
	config.Events = reporter
	config.Delegate = reporter
	config.Conflict = reporter
	config.LogOutput = io.Discard
	if *verbose {
		config.LogOutput = os.Stderr
	}
	list, err := memberlist.Create(config)
	if err != nil {
		log.Fatal(err)
	}
	if *answer != "" {
		// Before it joins, as MetalLB's: it answers for nothing until it has decided.
		answers := strings.Split(*answer, ",")
		if err := speak(list, *name, *link, answers, strings.Split(*join, ","), reporter.changed); err != nil {
			log.Fatal(err)
		}
		return
	}
	print(line{Event: "ready", Name: *name})
	if *join != "" {
		tryJoin("joined", list, strings.Split(*join, ","))
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "join":
			tryJoin("joined", list, words[1:])
		case "leave":
			print(line{Event: "left", Error: text(list.Leave(5 * time.Second))})
		case "meta":
			reporter.setMeta(decode(strings.Join(words[1:], "")))
			print(line{Event: "updated", Error: text(list.UpdateNode(5 * time.Second))})
		case "members":
			print(line{Event: "members", Members: members(list)})
		case "quit":
			print(line{Event: "quit", Error: text(list.Shutdown())})
			return
		default:
			print(line{Event: "unknown", Error: words[0]})
		}
	}
}

func tryJoin(event string, list *memberlist.Memberlist, addresses []string) {
	count, err := list.Join(addresses)
	print(line{Event: event, Count: count, Error: text(err)})
}

func members(list *memberlist.Memberlist) []member {
	found := []member{}
	for _, node := range list.Members() {
		found = append(found, member{
			Name:     node.Name,
			Address:  node.Address(),
			Meta:     hex.EncodeToString(node.Meta),
			State:    int(node.State),
			Versions: [6]uint8{node.PMin, node.PMax, node.PCur, node.DMin, node.DMax, node.DCur},
		})
	}
	sort.Slice(found, func(a, b int) bool { return found[a].Name < found[b].Name })
	return found
}

func decode(text string) []byte {
	octets, err := hex.DecodeString(text)
	if err != nil {
		log.Fatal(err)
	}
	return octets
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
