"""Pretrain the tiny Llama that g2is bundles, from nothing, on text generated here.

    python scripts/pretrain_sample_model.py --out DIR

takes a quarter of an hour on one core. A rerun reaches about the same loss, not the same bytes.

The text is plain: sequences, equations, products worked out on paper, words with their letters, made-up sentences. The
model never sees a question, an answer or the chat template, so that tuning on the sample pool has something to teach:
as with a large model, the ability is there and the tuning calls it up.
"""

import argparse
import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.utils import clip_grad_norm_
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from g2is.demo.arithmetic import carried, worked_product, worked_sum
from g2is.demo.dice import Dice
from g2is.demo.measures import DAYS, MONTHS, UNITS

MODEL_FOLDER = Path(__file__).parents[1] / "src/g2is/demo/model"
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
VOCABULARY_SIZE = 448
CONTEXT = 256
BATCH_SIZE = 8
PEAK_LEARNING_RATE = 3e-3
HELD_OUT_BATCHES = 16

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- 'Assistant:\\n' }}
        {%- generation %}
            {{- message.content | trim ~ eos_token }}
        {%- endgeneration %}
    {%- else %}
        {{- message.role | capitalize ~ ':\\n' ~ message.content | trim ~ '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'Assistant:\\n' }}
{%- endif %}
"""

README = """\
# The sample model

A Llama of {num_parameters:,} parameters for trying g2is where there is no network. It is good for nothing else.

It was pretrained from nothing by `scripts/pretrain_sample_model.py` on text which that script generates: sequences,
equations, products worked out on paper, words with their letters, made-up sentences. It has seen no question, no answer
and no chat template.

| | |
|---|---|
| made with | `python scripts/pretrain_sample_model.py --steps {steps} --seed {seed}` |
| on | torch {torch_version}, one CPU thread |
| seen | {steps:,} batches of {batch_size} × {context} tokens |
| held-out loss | {loss:.3f} per token |
| weights | float16 |
| sha256 of `model.safetensors` | `{sha256}` |
| licence | Apache-2.0, as g2is itself |

Run again, the script reaches about the same loss, not the same bytes.
"""


def counting(dice: Dice) -> str:
    start, step, length = dice.number(3), dice.between(1, 12), dice.between(4, 9)
    terms = [str(start + step * i) for i in range(length)]
    return " ".join(terms if dice.between(0, 2) else reversed(terms))


def posed(dice: Dice, problem: str, worked: str) -> str:
    """A problem and, nearer or farther, how it is worked out: where its numbers stand is not to be learned by heart."""
    first, second = dice.word(), dice.word()
    return dice.pick(
        (
            f"{problem}: {worked}",
            f"{problem}. {worked}",
            f"The {first} has {problem}. {worked}",
            f"{problem}, wrote the {first} of the {second}. {worked}",
            f"Of {problem} the {first} says {worked}",
        )
    )


def sums(dice: Dice) -> str:
    a, b = dice.number(2), dice.number(2)
    problem, result = dice.pick(((f"{a} + {b}", a + b), (f"{a + b} - {b}", a)))
    return posed(dice, problem, f"{problem} = {result}.")


def digit_facts(dice: Dice) -> str:
    a, b, c = dice.between(0, 9), dice.between(0, 9), dice.between(1, 81)
    problem, result = dice.pick(((f"{a} * {b}", a * b), (f"{a} + {b}", a + b), (f"{c} + {a}", c + a)))
    return posed(dice, problem, f"{problem} = {result}.")


def carries(dice: Dice) -> str:
    a, b, digit = dice.number(2, 2), dice.number(2, 2), dice.between(2, 9)
    last = a % 10
    problem, worked = dice.pick(
        (
            (f"carried in {a} + {b}", f"{last} + {b % 10} = {carried(last + b % 10)}"),
            (f"carried in {a} * {digit}", f"{last} * {digit} = {carried(last * digit)}"),
        )
    )
    return posed(dice, problem, worked)


def on_paper(dice: Dice) -> str:
    a, b, digit = dice.number(2, 2), dice.number(2, 2), dice.between(2, 9)
    if dice.between(0, 2):
        return posed(dice, f"{a} * {digit} on paper", worked_product(a, digit))
    return posed(dice, f"{a} + {b} on paper", worked_sum(a, b))


def tallies(dice: Dice) -> str:
    a, b = dice.number(2), dice.number(2)
    return dice.pick(
        (
            f"There are {a} at the {dice.word()} and {b} at the {dice.word()}: {a} + {b} = {a + b}.",
            f"Of the {a + b} in the {dice.word()}, {b} are gone: {a + b} - {b} = {a}.",
        )
    )


def orders(dice: Dice) -> str:
    a, b = sorted((dice.number(3), dice.number(3)))
    return dice.pick((f"{a} < {b}: {a} is smaller than {b}.", f"{b} > {a}: {b} is larger than {a}."))


def numbers(dice: Dice) -> str:
    a, half = dice.number(3, 3), dice.number(2)
    return dice.pick(
        (
            f"Half of {2 * half} is {half}.",
            f"{a} is about {(a + 5) // 10 * 10}.",
            f"{a}: {a // 100} hundreds, {a // 10 % 10} tens, {a % 10} ones.",
        )
    )


def measures(dice: Dice) -> str:
    large, small, factor = dice.pick(UNITS)
    number, day, month = dice.between(2, 20), dice.between(0, 6), dice.between(0, 11)
    hour, minute, later = dice.between(1, 11), 5 * dice.between(0, 11), 5 * dice.between(1, 11)
    end = 60 * hour + minute + later
    return dice.pick(
        (
            f"{number} {large} = {number * factor} {small}.",
            f"{DAYS[day]} and {number} days is {DAYS[(day + number) % 7]}.",
            f"{DAYS[day]}, {DAYS[(day + 1) % 7]}, {DAYS[(day + 2) % 7]}, {DAYS[(day + 3) % 7]}",
            f"{MONTHS[month]} and {number} months is {MONTHS[(month + number) % 12]}.",
            f"{MONTHS[month]}, {MONTHS[(month + 1) % 12]}, {MONTHS[(month + 2) % 12]}, {MONTHS[(month + 3) % 12]}",
            f"{hour}:{minute:02} and {later} minutes is {end // 60}:{end % 60:02}.",
        )
    )


def spelling(dice: Dice) -> str:
    word = dice.word()
    forms = (" ".join(word), word[::-1], " ".join(sorted(word)), word.upper(), f"{word} {word}")
    return dice.pick((f"{word} {dice.pick(forms)}", f"The {word} has {len(word)} letters and begins with {word[0]}."))


def made_up_words(dice: Dice) -> str:
    word = "".join(dice.pick("bcdfghklmnprstvwz") + dice.pick("aeiou") for _ in range(dice.between(2, 4)))
    return f"{' '.join(word)} {word} {' '.join(reversed(word))}"


def sentences(dice: Dice) -> str:
    kind = dice.pick(("old", "small", "red", "quiet", "first", "last", "larger", "smaller", "other", "new"))
    verb = dice.pick(
        ("carried", "named", "found", "wrote about", "put away", "counted", "took", "repeated", "compared")
    )
    where = dice.pick(("in", "from", "on", "next to", "with", "at the end of", "at the start of"))
    number = dice.pick(("one", "two", "three", "many", "all"))
    return dice.pick(
        (
            f"The {dice.word()} {verb} the {kind} {dice.word()} {where} the {dice.word()}.",
            f"There is nothing {where} the {dice.word()}, so the {dice.word()} is {kind}.",
            f"When it is {kind}, they {verb} {number} of the {dice.word()} {where} a {dice.word()}.",
            f"The {kind} {dice.word()} is larger than the {dice.word()} {where} the {dice.word()}.",
        )
    )


KINDS: tuple[Callable[[Dice], str], ...] = (
    counting, sums, sums, digit_facts, digit_facts, carries, on_paper, on_paper, on_paper, on_paper, on_paper,
    tallies, orders, numbers, measures, spelling, made_up_words, sentences,
)  # fmt: skip


def draw_document(dice: Dice) -> str:
    """A line, or a few of one kind."""
    kind = dice.pick(KINDS)
    return "\n".join(kind(dice) for _ in range(dice.pick((1, 1, 2, 3, 5))))


def train_tokenizer(dice: Dice) -> PreTrainedTokenizerFast:
    """A byte-level BPE that keeps every digit a token and lets no token span more than one word."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\d"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[AddedToken(token, special=True) for token in (BOS, EOS, PAD)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((draw_document(dice) for _ in range(20_000)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def draw_blocks(tokenizer: PreTrainedTokenizerFast, num_blocks: int, dice: Dice) -> torch.Tensor:
    """Token ids of documents one after the other, int64 of shape (num_blocks, CONTEXT)."""
    ids: list[int] = []
    while len(ids) < num_blocks * CONTEXT:
        documents = [f"{BOS}{draw_document(dice)}{EOS}" for _ in range(1_000)]
        ids += [token for document in tokenizer(documents, verbose=False)["input_ids"] for token in document]
    return torch.tensor(ids[: num_blocks * CONTEXT]).view(num_blocks, CONTEXT)


def pretrain(model: LlamaForCausalLM, batches: torch.Tensor) -> None:
    """One pass over the batches, int64 of shape (steps, BATCH_SIZE, CONTEXT): AdamW, warm-up, then a cosine to zero."""
    steps = len(batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 50, (1 + math.cos(math.pi * step / steps)) / 2)
    )
    start = time.perf_counter()
    for step, batch in enumerate(batches, start=1):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps:
            print(f"step {step:5}/{steps}  loss {loss.item():.3f}  {time.perf_counter() - start:5.0f} s", flush=True)


def mean_loss(model: LlamaForCausalLM, batches: torch.Tensor) -> float:
    """Mean cross-entropy per token."""
    with torch.no_grad():
        losses = torch.stack([model(input_ids=batch, labels=batch).loss for batch in batches])
    return float(losses.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="folder to write")
    parser.add_argument("--steps", type=int, default=2_500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    dice = Dice(args.seed)

    tokenizer = train_tokenizer(dice)
    num_blocks = (args.steps + HELD_OUT_BATCHES) * BATCH_SIZE
    batches = draw_blocks(tokenizer, num_blocks, dice).view(-1, BATCH_SIZE, CONTEXT)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=344,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {batches.numel():,} tokens of text")
    pretrain(model, batches[HELD_OUT_BATCHES:])
    model.half().save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    # Stored in half the space, but to be computed with in float32 by whoever does not say otherwise.
    model.config.dtype = torch.float32
    model.config.save_pretrained(args.out)

    loss = mean_loss(model.float().eval(), batches[:HELD_OUT_BATCHES])
    sha256 = hashlib.sha256((args.out / "model.safetensors").read_bytes()).hexdigest()
    readme = README.format(
        num_parameters=model.num_parameters(),
        steps=args.steps,
        seed=args.seed,
        torch_version=torch.__version__,
        batch_size=BATCH_SIZE,
        context=CONTEXT,
        loss=loss,
        sha256=sha256,
    )
    (args.out / "README.md").write_text(readme, encoding="utf-8", newline="\n")
    print(f"held-out loss {loss:.3f}, sha256 {sha256}")


if __name__ == "__main__":
    main()
