// Answers as BuildKit does: one JSON question a line on stdin, one JSON answer a line on stdout.
//
// The files in ../recorded have been made with it, from BuildKit 73ed6825c4b7569379ef89df0aedcdbe64473d31 (its vendored
// github.com/moby/patternmatcher included). To ask more, put this file in cmd/record of BuildKit's tree and
//
//	go build -mod=vendor -o record ./cmd/record && ./record <questions
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

type request struct {
	Kind   string            `json:"kind"`
	Text   string            `json:"text"`
	Escape string            `json:"escape"`
	Env    map[string]string `json:"env"`
	Paths  []string          `json:"paths"`
	Args   map[string]string `json:"args"`
	Target string            `json:"target"`
	Base   json.RawMessage   `json:"base"` // configuration of every external image
}

type pair [2]string

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var r request
			if err := json.Unmarshal(line, &r); err != nil {
				panic(err)
			}
			out.Encode(answer(r))
		}
		if err != nil {
			return
		}
	}
}

func answer(r request) (a map[string]any) {
	defer func() {
		if p := recover(); p != nil {
			a = map[string]any{"panic": fmt.Sprint(p)}
		}
	}()
	var v any
	var err error
	switch r.Kind {
	case "read":
		v, err = read(r)
	case "word":
		lex := shell.NewLex([]rune(r.Escape)[0])
		var res shell.ProcessWordResult
		env := []string{}
		for k, v := range r.Env {
			env = append(env, k+"="+v)
		}
		res, err = lex.ProcessWordWithMatches(r.Text, shell.EnvsFromSlice(env))
		names := []string{}
		for k := range res.Matched {
			names = append(names, k)
		}
		for k := range res.Unmatched {
			names = append(names, k)
		}
		sort.Strings(names)
		v = map[string]any{"word": res.Result, "names": names}
	case "ignore":
		v, err = ignore(r)
	case "image":
		v, err = image(r)
	default:
		panic(r.Kind)
	}
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"ok": v}
}

func ignore(r request) (any, error) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(r.Text))
	if err != nil {
		return nil, err
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	res := []bool{}
	for _, p := range r.Paths {
		b, err := m.MatchesOrParentMatches(p)
		if err != nil {
			return nil, err
		}
		res = append(res, b)
	}
	return res, nil
}

func pairs(kvs instructions.KeyValuePairs) (out []pair) {
	for _, kv := range kvs {
		out = append(out, pair{kv.Key, kv.Value})
	}
	return out
}

func args(a *instructions.ArgCommand) (out []any) {
	for _, kv := range a.Args {
		if kv.Value == nil {
			out = append(out, []string{kv.Key})
		} else {
			out = append(out, []string{kv.Key, *kv.Value})
		}
	}
	return out
}

func command(c instructions.ShellDependantCmdLine) map[string]any {
	files := []any{}
	for _, f := range c.Files {
		files = append(files, []any{f.Name, f.Data, f.Chomp})
	}
	line := c.CmdLine
	if line == nil {
		line = []string{}
	}
	return map[string]any{"shell": c.PrependShell, "words": line, "files": files}
}

func files(s instructions.SourcesAndDest) map[string]any {
	contents := []any{}
	for _, c := range s.SourceContents {
		contents = append(contents, []any{c.Path, c.Data, c.Expand})
	}
	paths := s.SourcePaths
	if paths == nil {
		paths = []string{}
	}
	return map[string]any{"paths": paths, "contents": contents, "to": s.DestPath}
}

func one(c instructions.Command) map[string]any {
	m := map[string]any{}
	switch c := c.(type) {
	case *instructions.AddCommand:
		m = files(c.SourcesAndDest)
		m["chown"], m["chmod"], m["link"], m["checksum"] = c.Chown, c.Chmod, c.Link, c.Checksum
		m["exclude"] = append([]string{}, c.ExcludePatterns...)
		m["keep-git-dir"], m["unpack"] = c.KeepGitDir, c.Unpack
	case *instructions.CopyCommand:
		m = files(c.SourcesAndDest)
		m["chown"], m["chmod"], m["link"], m["from"], m["parents"] = c.Chown, c.Chmod, c.Link, c.From, c.Parents
		m["exclude"] = append([]string{}, c.ExcludePatterns...)
	case *instructions.RunCommand:
		m = command(c.ShellDependantCmdLine)
		m["network"], m["security"] = instructions.GetNetwork(c), instructions.GetSecurity(c)
		froms := []string{}
		for _, mount := range instructions.GetMounts(c) {
			froms = append(froms, mount.From)
		}
		m["mounts-from"] = froms
	case *instructions.CmdCommand:
		m = command(c.ShellDependantCmdLine)
	case *instructions.EntrypointCommand:
		m = command(c.ShellDependantCmdLine)
	case *instructions.EnvCommand:
		m["pairs"] = pairs(c.Env)
	case *instructions.LabelCommand:
		m["pairs"] = pairs(c.Labels)
	case *instructions.ArgCommand:
		m["args"] = args(c)
	case *instructions.ExposeCommand:
		m["ports"] = c.Ports
	case *instructions.VolumeCommand:
		m["volumes"] = c.Volumes
	case *instructions.UserCommand:
		m["text"] = c.User
	case *instructions.WorkdirCommand:
		m["text"] = c.Path
	case *instructions.StopSignalCommand:
		m["text"] = c.Signal
	case *instructions.MaintainerCommand:
		m["text"] = c.Maintainer
	case *instructions.OnbuildCommand:
		m["text"] = c.Expression
	case *instructions.ShellCommand:
		m["words"] = c.Shell
	case *instructions.HealthCheckCommand:
		m["test"] = c.Health.Test
	default:
		panic(fmt.Sprintf("%T", c))
	}
	m["name"] = strings.ToUpper(c.Name())
	m["lines"] = lines(c.Location())
	return m
}

func lines(l []parser.Range) [2]int {
	return [2]int{l[0].Start.Line, l[len(l)-1].End.Line}
}

func read(r request) (any, error) {
	dt := []byte(r.Text)
	syntax, _, _, _ := parser.DetectSyntax(dt)
	res, err := parser.Parse(bytes.NewReader(dt))
	if err != nil {
		return nil, err
	}
	stages, meta, err := instructions.Parse(res.AST, linter.New(&linter.Config{Warn: func(a, b, c, d string, e []parser.Range) {}}))
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		return nil, fmt.Errorf("dockerfile contains no stages to build")
	}
	globals := []any{}
	for i := range meta {
		globals = append(globals, args(&meta[i]))
	}
	out := []any{}
	for _, s := range stages {
		cmds := []any{}
		for _, c := range s.Commands {
			cmds = append(cmds, one(c))
		}
		out = append(out, map[string]any{"name": s.Name, "base": s.BaseName, "platform": s.Platform, "lines": lines(s.Location), "instructions": cmds})
	}
	return map[string]any{"syntax": syntax, "escape": string(res.EscapeToken), "globals": globals, "stages": out}, nil
}

type resolver struct {
	base json.RawMessage
	seen map[string]bool
}

func (r *resolver) ResolveImageConfig(ctx context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	p := ""
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		p = " " + opt.ImageOpt.Platform.OS + "/" + opt.ImageOpt.Platform.Architecture
	}
	r.seen[ref+p] = true
	return ref, "", r.base, nil
}

func image(r request) (any, error) {
	res := &resolver{base: r.Base, seen: map[string]bool{}}
	caps := pb.Caps.CapSet(pb.Caps.All())
	arm := ocispecs.Platform{OS: "linux", Architecture: "arm64"}
	amd := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	out, err := dockerfile2llb.Dockerfile2LLB(context.Background(), []byte(r.Text), dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildArgs: r.Args, Target: r.Target, BuildPlatforms: []ocispecs.Platform{amd}},
		TargetPlatform: &arm,
		MetaResolver:   res,
		LLBCaps:        &caps,
		Warn:           func(a, b, c, d string, e []parser.Range) {},
	})
	if err != nil {
		return nil, err
	}
	img := out.Image
	hist := []any{}
	for _, h := range img.History {
		hist = append(hist, []any{h.CreatedBy, h.EmptyLayer})
	}
	img.History = nil
	img.Created = nil
	images := []string{}
	for k := range res.seen {
		images = append(images, k)
	}
	sort.Strings(images)
	return map[string]any{"image": img, "history": hist, "images": images}, nil
}
