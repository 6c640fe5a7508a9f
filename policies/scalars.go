package policies

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// rawText returns a scalar as it was written.
func rawText(n ast.Node) (string, bool) {
	switch t := n.(type) {
	case *ast.StringNode:
		return t.Value, true
	case *ast.LiteralNode:
		return t.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return t.GetToken().Value, true
	}
	return "", false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	}
	return "nothing"
}

// text reads a text into out. Numbers and booleans are refused rather than
// turned into text, as their writing may not survive (010, 1e3, yes).
func (r *reader) text(out *string) func(value) {
	return func(v value) {
		switch v.node.(type) {
		case *ast.StringNode, *ast.LiteralNode:
			*out, _ = rawText(v.node)
			if *out == "" {
				r.problem(v, "is empty", "remove it")
			}
			return
		}
		if r.bad[v.path] {
			return
		}
		hint := ""
		if raw, ok := rawText(v.node); ok {
			hint = fmt.Sprintf("put it in quotes: %q", raw)
		}
		r.problem(v, "must be text, not "+kindOf(v.node), hint)
	}
}

// texts reads a list of texts.
func (r *reader) texts(out *[]string, what string) func(value) {
	return func(v value) {
		list := r.items(v, what)
		for _, item := range list {
			var s string
			r.text(&s)(item)
			*out = append(*out, s)
		}
	}
}

// flag reads true or false.
func (r *reader) flag(out *bool) func(value) {
	return func(v value) {
		if b, ok := v.node.(*ast.BoolNode); ok {
			*out = b.Value
			return
		}
		if r.bad[v.path] {
			return
		}
		hint := ""
		switch raw, _ := rawText(v.node); strings.ToLower(raw) {
		case "yes", "on", "y", "1":
			hint = "write true"
		case "no", "off", "n", "0":
			hint = "write false"
		}
		r.problem(v, "must be true or false, not "+kindOf(v.node), hint)
	}
}

// count reads a whole number within bounds.
func (r *reader) count(out *int, low, high int) func(value) {
	return func(v value) {
		n, isInt := v.node.(*ast.IntegerNode)
		if !isInt {
			if !r.bad[v.path] {
				r.problem(v, "must be a whole number, not "+kindOf(v.node), "")
			}
			return
		}
		i, err := strconv.Atoi(n.GetToken().Value)
		switch {
		case err != nil:
			r.problem(v, fmt.Sprintf("%s is not a plain whole number", n.GetToken().Value), "")
		case i < low || i > high:
			r.problem(v, fmt.Sprintf("%d is out of bounds", i), fmt.Sprintf("%d to %d", low, high))
		default:
			*out = i
		}
	}
}

// unit reads a scalar by a parser of units, whose message may end in a hint in
// parentheses.
func unit[T any](r *reader, out *T, parse func(string) (T, error)) func(value) {
	return func(v value) {
		raw, ok := rawText(v.node)
		if !ok {
			if !r.bad[v.path] {
				r.problem(v, "must be a single value, not "+kindOf(v.node), "")
			}
			return
		}
		got, err := parse(raw)
		if err != nil {
			message, hint, _ := strings.Cut(err.Error(), " (")
			r.problem(v, message, strings.TrimSuffix(hint, ")"))
			return
		}
		*out = got
	}
}
