"""The classes of characters, and the flags that the statistics kernel reads beside them."""

from corpuskit.clean.characters import FUNCTION_CHARACTERS, CharacterClass, tables
from corpuskit.kernels import charstats


def test_classes_of_well_known_characters():
    kinds = CharacterClass
    expected = {
        "中": kinds.HAN,
        "們": kinds.HAN,
        "〇": kinds.HAN,
        "后": kinds.HAN,
        "里": kinds.HAN,
        "の": kinds.KANA,
        "ー": kinds.KANA,
        "한": kinds.HANGUL,
        "a": kinds.LATIN,
        "Ａ": kinds.LATIN,
        "１": kinds.DIGIT,
        "，": kinds.PUNCTUATION,
        "「": kinds.PUNCTUATION,
        "\u3000": kinds.SPACE,
        "％": kinds.PUNCTUATION,
        "+": kinds.SYMBOL,
        "Я": kinds.LETTER,
        "\ue000": kinds.OTHER,
        "😀": kinds.SYMBOL,
        "\U00020000": kinds.HAN,
    }
    assert {c: CharacterClass(tables().classes[ord(c)]) for c in expected} == expected


def test_the_kernel_knows_the_classes_by_the_same_numbers():
    assert (charstats.SPACE, charstats.DIGIT) == (CharacterClass.SPACE, CharacterClass.DIGIT)
    assert max(CharacterClass) <= charstats.CLASS_MASK
    properties = tables().properties
    assert ((properties & charstats.CLASS_MASK) == tables().classes).all()


def test_white_space_is_what_python_calls_so():
    spaces = {code for code in range(0x110000) if chr(code).isspace()}
    assert set((tables().classes == CharacterClass.SPACE).nonzero()[0].tolist()) == spaces


def test_a_plain_character_means_nothing_to_its_line():
    properties = tables().properties
    for character in FUNCTION_CHARACTERS + "国\U00020000のé😀（":
        assert properties[ord(character)] & charstats.PLAIN
    for character in "。，…”年 １1a\n<":
        assert not properties[ord(character)] & charstats.PLAIN


def test_no_function_character_is_listed_twice():
    assert len(set(FUNCTION_CHARACTERS)) == len(FUNCTION_CHARACTERS)
