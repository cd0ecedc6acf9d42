// SPDX-License-Identifier: Apache-2.0

// Records what Go, and Kubernetes' API server, make of texts that stand for addresses and prefixes. The texts are the lines of
// texts.txt, each a quoted string of Go. How to record anew, in this folder: go run . > table.json
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"
)

// Row is one text and every verdict on it; empty where the text is refused.
type Row struct {
	Text string `json:"text"`
	// ParseIP is net.ParseIP's: MetalLB reads addresses with it.
	ParseIP string `json:"parseIP"`
	// ParseAddr is netip.ParseAddr's, which keeps zones and mapped addresses: Antrea reads addresses with it.
	ParseAddr string `json:"parseAddr"`
	// ParseCIDR is net.ParseCIDR's network: MetalLB reads pools with it.
	ParseCIDR string `json:"parseCIDR"`
	// ParsePrefix is netip.ParsePrefix's, masked: Antrea reads ranges with it.
	ParsePrefix string `json:"parsePrefix"`
	// CoreAddress is what the API server stores in a field of a core kind, as it reads it.
	CoreAddress string `json:"coreAddress"`
	// CoreAddressWarning is the warning that comes with it.
	CoreAddressWarning string `json:"coreAddressWarning"`
	// CorePrefix and CorePrefixWarning are the same of a prefix.
	CorePrefix        string `json:"corePrefix"`
	CorePrefixWarning string `json:"corePrefixWarning"`
}

func verdicts(text string) Row {
	row := Row{Text: text}
	if ip := net.ParseIP(text); ip != nil {
		row.ParseIP = ip.String()
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		row.ParseAddr = addr.String()
	}
	if _, network, err := net.ParseCIDR(text); err == nil {
		row.ParseCIDR = network.String()
	}
	if prefix, err := netip.ParsePrefix(text); err == nil {
		row.ParsePrefix = prefix.Masked().String()
	}
	path := field.NewPath("field")
	if len(validation.IsValidIPForLegacyField(path, text, false, nil)) == 0 {
		row.CoreAddress = utilnet.ParseIPSloppy(text).String()
		row.CoreAddressWarning = strings.Join(validation.GetWarningsForIP(path, text), "; ")
	}
	if len(validation.IsValidCIDRForLegacyField(path, text, false, nil)) == 0 {
		_, network, _ := utilnet.ParseCIDRSloppy(text)
		row.CorePrefix = network.String()
		row.CorePrefixWarning = strings.Join(validation.GetWarningsForCIDR(path, text), "; ")
	}
	return row
}

func run() error {
	file, err := os.Open("texts.txt")
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	var rows []string
	for lines.Scan() {
		text, err := strconv.Unquote(lines.Text())
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		row, err := json.Marshal(verdicts(text))
		if err != nil {
			return err
		}
		rows = append(rows, string(row))
	}
	fmt.Printf("[\n%s\n]\n", strings.Join(rows, ",\n"))
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
