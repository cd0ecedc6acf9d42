// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sort"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// leaveTime is how long MetalLB's speaker gives the others to hear that it leaves.
	leaveTime = time.Second
	// announceEvery and announceFor are the bursts of one that takes an address over (contract 4.8).
	announceEvery = 1100 * time.Millisecond
	announceFor   = 5 * time.Second
	// alone is how often one that has met nobody tries again.
	alone = time.Second
)

// speak plays a speaker of MetalLB: it joins, decides who owns each address among the members that it sees (contract 4.3, every node with
// an equal preference), and answers ARP for its own. On SIGTERM it leaves as MetalLB does: it decides nothing any more, tells the ring,
// waits for that, and has answered all along, for nobody tells it to stop.
func speak(list *memberlist.Memberlist, name, link string, addresses, others []string, changed <-chan struct{}) error {
	var wanted []netip.Addr
	for _, text := range addresses {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		wanted = append(wanted, address)
	}
	responder, err := listen(link)
	if err != nil {
		return err
	}
	go responder.answer()
	// Beside all else, as MetalLB's; what is decided first is decided with somebody, if anybody is there. Its own joining is no news.
	select {
	case <-changed:
	default:
	}
	joined := make(chan struct{}, 1)
	join := func() {
		tryJoin("joined", list, others)
		joined <- struct{}{}
	}
	go join()
	select {
	case <-changed:
	case <-joined:
		joined <- struct{}{}
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	again := time.NewTicker(alone)
	bursts := time.NewTicker(announceEvery)
	// Armed by every decision, also for what was owned already.
	var until time.Time
	decide := func() {
		owned := owns(list, name, wanted)
		until = time.Now().Add(announceFor)
		gained := responder.own(owned)
		print(line{Event: "owns", Name: name, Owned: texts(owned)})
		responder.announce(gained)
	}
	decide()
	print(line{Event: "ready", Name: name})
	for {
		select {
		case <-ended:
			print(line{Event: "left", Error: text(list.Leave(leaveTime))})
			return list.Shutdown()
		case <-changed:
			decide()
		case <-bursts.C:
			if time.Now().Before(until) {
				responder.announce(responder.owned())
			}
		case <-again.C:
			if list.NumMembers() > 1 {
				continue
			}
			select {
			case <-joined:
				go join()
			default:
			}
		}
	}
}

// owns is the election of contract 4.3: the smallest SHA-256 of `<node>#<address>` wins.
func owns(list *memberlist.Memberlist, name string, wanted []netip.Addr) []netip.Addr {
	var nodes []string
	for _, node := range list.Members() {
		nodes = append(nodes, node.Name)
	}
	var owned []netip.Addr
	for _, address := range wanted {
		key := func(node string) []byte {
			sum := sha256.Sum256([]byte(node + "#" + address.String()))
			return sum[:]
		}
		sort.Slice(nodes, func(a, b int) bool { return bytes.Compare(key(nodes[a]), key(nodes[b])) < 0 })
		if len(nodes) > 0 && nodes[0] == name {
			owned = append(owned, address)
		}
	}
	return owned
}

func texts(addresses []netip.Addr) []string {
	found := []string{}
	for _, address := range addresses {
		found = append(found, address.String())
	}
	return found
}

// responder answers ARP on one link (contract 4.6).
type responder struct {
	socket int
	link   *net.Interface
	lock   sync.Mutex
	own4   map[netip.Addr]bool
}

func network16(value uint16) uint16 { return value<<8 | value>>8 }

func listen(name string) (*responder, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(network16(syscall.ETH_P_ARP)))
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	at := &syscall.SockaddrLinklayer{Protocol: network16(syscall.ETH_P_ARP), Ifindex: link.Index}
	if err := syscall.Bind(socket, at); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	return &responder{socket: socket, link: link, own4: map[netip.Addr]bool{}}, nil
}

// own sets what is answered for; returns what is new.
func (r *responder) own(addresses []netip.Addr) []netip.Addr {
	r.lock.Lock()
	defer r.lock.Unlock()
	before := r.own4
	r.own4 = map[netip.Addr]bool{}
	var gained []netip.Addr
	for _, address := range addresses {
		r.own4[address] = true
		if !before[address] {
			gained = append(gained, address)
		}
	}
	return gained
}

func (r *responder) owned() []netip.Addr {
	r.lock.Lock()
	defer r.lock.Unlock()
	var owned []netip.Addr
	for address := range r.own4 {
		owned = append(owned, address)
	}
	return owned
}

func (r *responder) owns(address netip.Addr) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.own4[address]
}

// frame is an ARP packet in its frame (RFC 826): sender and target each with a hardware and an IPv4 address.
func frame(to, from net.HardwareAddr, operation byte, sender netip.Addr, targetHardware net.HardwareAddr, target netip.Addr) []byte {
	octets := append([]byte{}, to...)
	octets = append(octets, from...)
	octets = append(octets, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation)
	octets = append(octets, from...)
	octets = append(octets, sender.AsSlice()...)
	octets = append(octets, targetHardware...)
	return append(octets, target.AsSlice()...)
}

func (r *responder) send(octets []byte) {
	to := &syscall.SockaddrLinklayer{Ifindex: r.link.Index, Halen: 6}
	copy(to.Addr[:], octets[:6])
	if err := syscall.Sendto(r.socket, octets, 0, to); err != nil {
		print(line{Event: "unsent", Error: err.Error()})
	}
}

// announce sends a burst for each: a request, then a reply, to all.
func (r *responder) announce(addresses []netip.Addr) {
	all := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for _, address := range addresses {
		for _, operation := range []byte{1, 2} {
			r.send(frame(all, r.link.HardwareAddr, operation, address, all, address))
		}
	}
}

// answer answers requests that are sent to all or to this link, for ever.
func (r *responder) answer() {
	octets := make([]byte, 256)
	for {
		length, _, err := syscall.Recvfrom(r.socket, octets, 0)
		if err == syscall.EINTR || err == syscall.ENETDOWN {
			continue
		}
		if err != nil {
			print(line{Event: "deaf", Error: err.Error()})
			return
		}
		if length < 42 || octets[20] != 0 || octets[21] != 1 {
			continue
		}
		to := net.HardwareAddr(octets[:6])
		broadcast := bytes.Equal(to, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		if !broadcast && !bytes.Equal(to, r.link.HardwareAddr) {
			continue
		}
		asked := netip.AddrFrom4([4]byte(octets[38:42]))
		if !r.owns(asked) {
			continue
		}
		asking := net.HardwareAddr(append([]byte{}, octets[22:28]...))
		by := netip.AddrFrom4([4]byte(octets[28:32]))
		r.send(frame(asking, r.link.HardwareAddr, 2, asked, asking, by))
	}
}
