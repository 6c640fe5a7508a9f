package policies

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFileSize bounds what is handed to the YAML parser, whose work and stack
// grow with the input and its nesting. A thousand policies fit in a tenth of it.
const maxFileSize = 1 << 20

// maxDepth bounds nesting within a line for the same reason; the file
// format itself needs five levels.
const maxDepth = 64

// position is where something stands in the file; the zero value is nowhere.
type position struct{ line, column int }

// value is one node of the file with its YAML path.
type value struct {
	node ast.Node
	path string
	at   position
}

// marks holds the YAML paths whose value could not be read (true) and the paths
// above them (false).
type marks map[string]bool

func (m marks) set(path string) {
	m[path] = true
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			if _, known := m[path[:i]]; known {
				return
			}
			m[path[:i]] = false
		}
	}
}

// under tells whether a problem was found at a path or below it.
func (m marks) under(path string) bool {
	_, known := m[path]
	return known
}

// reader walks a parsed file and collects every problem on the way, so that one
// run shows them all. The walk over nodes is done here, and not by decoding into
// structs, because that stops at the first problem.
type reader struct {
	file     string
	problems Errors
	at       map[string]position
	bad      marks
	anchors  map[string]ast.Node
}

// problem notes what is wrong with a value; the value counts as unread.
func (r *reader) problem(v value, message, hint string) {
	r.bad.set(v.path)
	r.problems = append(r.problems, Problem{r.file, v.at.line, v.at.column, v.path, message, hint})
}

// parse returns the one document of the file, or nil and a noted problem.
func (r *reader) parse(data []byte) ast.Node {
	root := value{at: position{1, 1}}
	if len(data) > maxFileSize {
		r.problem(root, fmt.Sprintf("the file has %d bytes, a policy file at most %d", len(data), maxFileSize), "")
		return nil
	}
	if v, bad := firstUnreadable(data); bad != "" {
		r.problem(v, bad, "")
		return nil
	}
	file, err := parseYAML(data)
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
			root.at = position{syntax.Token.Position.Line, syntax.Token.Position.Column}
			r.problem(root, "not YAML: "+syntax.Message, syntaxHint(data, root.at))
			return nil
		}
		r.problem(root, "not YAML: "+firstLine(err.Error()), "")
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil:
			continue
		case *ast.DirectiveNode:
			continue
		}
		if body != nil {
			r.problem(value{at: where(doc.Body)}, "a second document begins here", "a policy file is one YAML document: remove the line ---")
			break
		}
		body = doc.Body
	}
	if body == nil {
		if len(r.problems) == 0 {
			r.problem(root, "the file is empty", "it needs at least regions")
		}
		return nil
	}
	r.anchors = map[string]ast.Node{}
	ast.Walk(anchorCollector(r.anchors), body)
	return body
}

// parseYAML turns a panic of the parser into an error: it is code of others, it
// reads text of others, and a daemon reloading a file must outlive both.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML parser gave up: %v", p)
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

type anchorCollector map[string]ast.Node

// Visit implements ast.Visitor.
func (c anchorCollector) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		c[a.Name.GetToken().Value] = a.Value
	}
	return c
}

// firstUnreadable finds what would make the parser guess or toil: bytes that are
// no text, and nesting no policy file has.
func firstUnreadable(data []byte) (value, string) {
	line, column, depth, dashes := 1, 1, 0, 0
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		here := value{at: position{line, column}}
		switch {
		case c == utf8.RuneError && size == 1:
			return here, "not UTF-8 text"
		case c < ' ' && c != '\n' && c != '\r' && c != '\t':
			return here, fmt.Sprintf("a control character (%#x)", c)
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth = max(depth-1, 0)
		}
		switch {
		case c == '-' && i+1 < len(data) && data[i+1] == ' ':
			dashes++
		case c != ' ':
			dashes = 0
		}
		if depth > maxDepth || dashes > maxDepth {
			return here, "nested too deeply"
		}
		i, column = i+size, column+1
		if c == '\n' {
			line, column = line+1, 1
		}
	}
	return value{}, ""
}

// syntaxHint explains the traps people who write patterns fall into: * and ! mean
// something to YAML.
func syntaxHint(data []byte, at position) string {
	lines := strings.Split(string(data), "\n")
	if at.line < 1 || at.line > len(lines) {
		return ""
	}
	line := lines[at.line-1]
	switch {
	case barePattern.MatchString(line):
		return `put patterns that contain * or ! in quotes, as in ["assets-*", "!assets-tmp"]`
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "indent with spaces"
	}
	return ""
}

var barePattern = regexp.MustCompile(`[\[,:-]\s*[*!]`)

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// where returns the place of a node: of its first key for a mapping in block
// style, whose own token is the colon after that key.
func where(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && m.GetToken().Value == ":" {
		return where(m.Values[0].Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return position{t.Position.Line, t.Position.Column}
	}
	return position{1, 1}
}

// child makes the value found under v at a path step, resolving anchors and
// aliases; fallback is its place when it has none of its own.
func (r *reader) child(v value, step string, n ast.Node, fallback position) value {
	c := value{path: v.path + step, at: fallback}
	if v.path == "" {
		c.path = strings.TrimPrefix(step, ".")
	}
	for range maxDepth {
		switch t := n.(type) {
		case nil:
			return c
		case *ast.AnchorNode:
			n = t.Value
			continue
		case *ast.AliasNode:
			name := t.Value.GetToken().Value
			target, ok := r.anchors[name]
			if !ok {
				c.at = where(t)
				r.problem(c, fmt.Sprintf("there is no anchor &%s", name), `a text that begins with * needs quotes`)
				return c
			}
			n = target
			continue
		case *ast.TagNode:
			c.at = where(t)
			r.problem(c, fmt.Sprintf("%s is a YAML tag, and tags have no meaning here", t.GetToken().Value), `a text that begins with ! needs quotes`)
			return c
		case *ast.NullNode:
			c.node = t
		default:
			c.node, c.at = n, where(n)
		}
		r.at[c.path] = c.at
		return c
	}
	r.problem(c, "an anchor that refers to itself", "")
	return c
}

// absent tells whether nothing stands there: the key is followed by no value.
func (v value) absent() bool {
	if v.node == nil {
		return true
	}
	_, null := v.node.(*ast.NullNode)
	return null
}

// entry is one key of a mapping.
type entry struct {
	key string
	at  position
	value
}

// entries returns the keys of a mapping with their values, in the file's order;
// false when v is no mapping. Keys of merged mappings (<<) come last and only
// where v has none of its own.
func (r *reader) entries(v value, what string) ([]entry, bool) {
	m, ok := v.node.(*ast.MappingNode)
	if !ok {
		if !r.bad[v.path] {
			r.problem(v, fmt.Sprintf("must be %s, not %s", what, kindOf(v.node)), "")
		}
		return nil, false
	}
	return r.entriesOf(v, m, map[string]position{}, 0), true
}

func (r *reader) entriesOf(v value, m *ast.MappingNode, seen map[string]position, merged int) []entry {
	var out []entry
	var merges []value
	for _, pair := range m.Values {
		key := pair.Key.GetToken().Value
		at := where(pair.Key)
		if pair.Key.IsMergeKey() {
			merges = append(merges, r.child(v, "", pair.Value, at))
			continue
		}
		if _, plain := pair.Key.(ast.ScalarNode); !plain {
			r.problem(value{path: v.path, at: at}, "a key must be plain text", "")
			continue
		}
		if first, twice := seen[key]; twice {
			if merged == 0 {
				r.problem(value{path: joinKey(v.path, key), at: at}, "this key was already given", fmt.Sprintf("first in line %d; remove one", first.line))
			}
			continue
		}
		seen[key] = at
		out = append(out, entry{key, at, r.child(v, keyStep(key), pair.Value, at)})
	}
	for _, from := range merges {
		inner, ok := from.node.(*ast.MappingNode)
		if !ok || merged >= maxDepth {
			r.problem(from, "<< must be followed by an alias of a mapping", "")
			continue
		}
		out = append(out, r.entriesOf(v, inner, seen, merged+1)...)
	}
	return out
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func keyStep(key string) string {
	if plainKey.MatchString(key) {
		return "." + key
	}
	return "[" + strconv.Quote(key) + "]"
}

func joinKey(path, key string) string {
	return strings.TrimPrefix(path+keyStep(key), ".")
}

// field is one key a mapping may have and what reads its value.
type field struct {
	key  string
	read func(value)
}

// fields reads a mapping whose keys are known. It returns the place of each key
// that was there, so that the caller can tell given from default.
func (r *reader) fields(v value, what string, known ...field) map[string]position {
	list, ok := r.entries(v, what)
	if !ok {
		return nil
	}
	given := map[string]position{}
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.key
	}
	for _, e := range list {
		i := slices.Index(names, e.key)
		if i < 0 {
			r.unknownKey(v, e, names)
			continue
		}
		given[e.key] = e.at
		if e.absent() {
			if !r.bad[e.path] {
				r.problem(e.value, "has no value", "remove the key to have the default")
			}
			continue
		}
		known[i].read(e.value)
	}
	return given
}

func (r *reader) unknownKey(v value, e entry, names []string) {
	e.value.at = e.at
	hint := "keys here are " + strings.Join(names, ", ")
	if meant := nearest(e.key, names); meant != "" {
		hint = fmt.Sprintf("did you mean %s?", meant)
		r.bad.set(joinKey(v.path, meant))
	}
	r.problem(e.value, "unknown key", hint)
}

// items returns the elements of a sequence.
func (r *reader) items(v value, what string) []value {
	s, ok := v.node.(*ast.SequenceNode)
	if !ok {
		if r.bad[v.path] {
			return nil
		}
		hint := ""
		if raw, scalar := rawText(v.node); scalar {
			hint = fmt.Sprintf("write [%s]", quoteIfNeeded(raw))
		}
		r.problem(v, fmt.Sprintf("must be a list of %s, not %s", what, kindOf(v.node)), hint)
		return nil
	}
	out := make([]value, 0, len(s.Values))
	for i, n := range s.Values {
		c := r.child(v, fmt.Sprintf("[%d]", i), n, where(n))
		if c.absent() {
			if !r.bad[c.path] {
				r.problem(c, "an empty list item", "")
			}
			continue
		}
		out = append(out, c)
	}
	return out
}

func quoteIfNeeded(s string) string {
	if plainKey.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
