package store

import "os"

func child(role []string) int { os.Exit(9); return 9 }
