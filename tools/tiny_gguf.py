#!/usr/bin/env python3
"""
A language model without training: a GGUF file of random weights.

Tests and examples want a real inference server, but not gigabytes of weights
nor a download.  A llama-architecture model of random numbers is loaded, run
and streamed by llama.cpp as any other is; it only talks nonsense.  The same
seed always makes the same model, and two seeds answer one prompt differently,
so that a reply tells which model wrote it.

From the command line::

    python tools/tiny_gguf.py tiny-a.gguf --seed 1 --name tiny-a

Needs PyPI's C{gguf}.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product

import numpy
from gguf import GGUFWriter, LlamaFileType, TokenType

#: What SentencePiece vocabularies write for "a space stands before this".
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"

#: A chat is its messages, one a line, each with its role before it.
TEMPLATE = (
    "{% for message in messages %}"
    "<{{ message['role'] }}> {{ message['content'] }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

#: The places of the three control tokens in the vocabulary.
UNKNOWN, BEGIN, END = range(3)


def _words() -> Iterator[str]:
    """
    Every text a model may write a token as: the space, the printable
    characters, and syllables with and without a space before them.
    """
    yield SPACE
    yield from map(chr, range(ord("!"), ord("~") + 1))
    for syllable in product("bdfgklmnprstvz", "aeiou", ("", "l", "n", "r", "s")):
        yield "".join(syllable)
        yield SPACE + "".join(syllable)


def _vocabulary() -> tuple[list[str], list[TokenType], list[float]]:
    """
    The tokens, their kinds and their scores, in the order of their numbers.

    All 256 bytes are tokens too: a SentencePiece tokenizer spells whatever
    it has no word for with them, so that any prompt can be read.
    """
    words = list(_words())
    pieces = ["<unk>", "<s>", "</s>"]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    kinds += [TokenType.BYTE] * 256
    scores = [0.0] * len(pieces)
    # The tokenizer merges towards the highest score: long words come first.
    scores += [float(len(word)) for word in words]
    kinds += [TokenType.NORMAL] * len(words)
    return pieces + words, kinds, scores


def write(
    path: str,
    seed: int = 1,
    name: str = "tiny",
    *,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    hidden: int | None = None,
    context: int = 4096,
    stops: bool = False,
) -> None:
    """
    Write a model.  With the sizes below it is some 0.8 MB and writes thousands
    of tokens a second; C{width=512, layers=12, heads=8, hidden=2048} makes
    200 MB and some 40 tokens a second on one core.

    @param path: the file to write, usually C{something.gguf}.
    @param seed: what the weights are drawn from.
    @param name: the name the model gives itself.
    @param width: numbers per token in the stream between the layers; a
        multiple of twice C{heads}.
    @param layers: how many transformer blocks there are.
    @param heads: attention heads per layer.
    @param hidden: numbers in the middle of a feed-forward step; twice
        C{width} unless given.
    @param context: the longest text, in tokens, that the model is for.
    @param stops: whether the model may end an answer by itself.  If not, each
        answer is exactly as long as the request allows, which is what a test
        wants to count.
    """
    hidden = hidden or 2 * width
    random = numpy.random.default_rng(seed)
    pieces, kinds, scores = _vocabulary()

    def matrix(rows: int, columns: int, gain: float = 1.0) -> numpy.ndarray:
        numbers = random.standard_normal((rows, columns), dtype=numpy.float32)
        # Keeps the size of what passes through, however wide the model is.
        return numbers * numpy.float32(gain / columns**0.5)

    unit = numpy.ones(width, dtype=numpy.float32)
    file = GGUFWriter(path, "llama")
    file.add_name(name)
    file.add_file_type(LlamaFileType.ALL_F32)
    file.add_context_length(context)
    file.add_embedding_length(width)
    file.add_block_count(layers)
    file.add_feed_forward_length(hidden)
    file.add_head_count(heads)
    file.add_head_count_kv(heads)
    file.add_rope_dimension_count(width // heads)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(len(pieces))

    file.add_tokenizer_model("llama")
    file.add_tokenizer_pre("default")
    file.add_token_list(pieces)
    file.add_token_scores(scores)
    file.add_token_types(kinds)
    file.add_unk_token_id(UNKNOWN)
    file.add_bos_token_id(BEGIN)
    file.add_eos_token_id(END)
    file.add_add_bos_token(True)
    file.add_add_space_prefix(True)
    file.add_chat_template(TEMPLATE)

    file.add_tensor("token_embd.weight", matrix(len(pieces), width, width**0.5))
    for layer in range(layers):
        block = f"blk.{layer}"
        file.add_tensor(f"{block}.attn_norm.weight", unit)
        for part in ("q", "k", "v", "output"):
            file.add_tensor(f"{block}.attn_{part}.weight", matrix(width, width))
        file.add_tensor(f"{block}.ffn_norm.weight", unit)
        file.add_tensor(f"{block}.ffn_gate.weight", matrix(hidden, width))
        file.add_tensor(f"{block}.ffn_up.weight", matrix(hidden, width))
        file.add_tensor(f"{block}.ffn_down.weight", matrix(width, hidden))
    file.add_tensor("output_norm.weight", unit)

    output = matrix(len(pieces), width, gain=3.0)
    # Control tokens and lone bytes get no weight, so that some word always
    # scores higher: answers are readable, and do not end before their time.
    silent = numpy.array([kind != TokenType.NORMAL for kind in kinds])
    silent[END] = not stops
    output[silent] = 0
    file.add_tensor("output.weight", output)

    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The command line.

    @param arguments: what stands behind the program's name; C{sys.argv}'s
        unless given.
    """
    parser = argparse.ArgumentParser(
        description="Write a tiny language model of random weights as GGUF."
    )
    parser.add_argument("path", help="the file to write")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other text")
    parser.add_argument("--name", default="tiny", help="what the model calls itself")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--hidden", type=int, help="default: twice the width")
    parser.add_argument("--context", type=int, default=4096, help="tokens")
    parser.add_argument(
        "--stops", action="store_true", help="let the model end its answers itself"
    )
    write(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
