"""Counts the evidence for language and script of many documents in one pass over their UTF-8 bytes.

One lookup a character says what it is evidence for. Latin words also run through a table of letter
trigrams, whose row holds how much likelier each of some languages is than English; the sixteen sums of a
document are added with two vector instructions a letter. What the counts mean is decided in
`corpuskit.clean.language`; the reference in the tests counts the same with Python strings.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.utf8 import next_code_point

LETTERS = 28
"""Symbols of a trigram: 0 a word's edge, 1 to 26 the letters a to z, 27 any other Latin letter."""


@kernel
def script_evidence(data, offsets, classes, letters, trigrams, counts, latin):
    """Count the classes of each document's characters and add up its Latin trigrams.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8 of all documents.
    offsets : int64[:]
        Document `i` is ``data[offsets[i]:offsets[i + 1]]``.
    classes : uint8[0x110000]
        Class of each code point.
    letters : uint8[65536]
        Symbol of each Latin letter, 0 for every other code point.
    trigrams : int8[28 ** 3, num_languages]
        Log-likelihood ratio to English of each trigram.
    counts : int64[num_documents, num_classes]
        Filled.
    latin : int64[num_documents, num_languages]
        Filled: sums of the rows of the trigrams in each document. A word of n letters has n of them,
        the first beginning at its left edge, the last ending at its right edge.
    """
    num_languages = trigrams.shape[1]
    sums = np.zeros(num_languages, np.int32)
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        counts[document, :] = 0
        sums[:] = 0
        first = second = np.int64(0)
        while position < stop:
            code, position = next_code_point(data, position, stop)
            counts[document, classes[code]] += 1
            symbol = np.int64(letters[code]) if code < 65536 else np.int64(0)
            if second > 0:
                row = (first * LETTERS + second) * LETTERS + symbol
                for language in range(num_languages):
                    sums[language] += trigrams[row, language]
            if symbol > 0:
                first = second
                second = symbol
            else:
                first = second = np.int64(0)
        if second > 0:
            row = (first * LETTERS + second) * LETTERS
            for language in range(num_languages):
                sums[language] += trigrams[row, language]
        for language in range(num_languages):
            latin[document, language] = sums[language]
