"""The layout of what `html_lines` takes and gives: numbers only, so that reading it loads no compiler."""

from __future__ import annotations

# Bits of a tag's kind.
BLOCK, INLINE, SKIP, RAW, VOID, BREAK, LINK, PARAGRAPH, HEADING = (1 << i for i in range(9))
PRE, MARK, SCOPE, ITEM, TERM, ROW, CELL, LIST, TABLE, TABULAR, LENIENT = (1 << i for i in range(9, 20))

# Columns of a line, which are also the first places of the state: the line being read.
START, STOP, CHARACTERS, LINK_CHARACTERS, CLAUSE_MARKS, STOP_MARKS, HAN, LINKS, FLAGS, HOME = range(10)
LINE_COLUMNS = 10

# Columns of a block.
PARENT, TAG, HINTS = range(3)
BLOCK_COLUMNS = 3

# Bits of a line's flags.
IN_HEADING, IN_PRE, IN_CELL, IN_ITEM = 1, 2, 4, 8

# Further places of the state. The first six are what a scan returns.
NUM_LINES, NUM_BLOCKS, NUM_MARKS, OUT_BYTES, DEEPEST, NODES = range(10, 16)
OPEN, SKIPPING, IN_LINK, LINK_DEPTH, PENDING_SPACE = range(16, 21)
HEADINGS, PRES, CELLS, ITEMS, UNCLOSED = range(21, 26)
STATE_SIZE = 26

# Columns of the stack.
STACK_TAG, STACK_BLOCK, STACK_SKIPS, STACK_KIND = range(4)
STACK_COLUMNS = 4
