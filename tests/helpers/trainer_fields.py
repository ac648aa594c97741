"""What trainers take, key by key: every key that an export may write, with the types that the trainer's source has.

An unknown key or another type is refused. Only keys that g2is writes are here, and of values only those that it may
write. The names and types were read in these sources:

- TRL 1.16.0: trl/trainer/sft_config.py, trl/trainer/model_config.py, trl/scripts/utils.py (DatasetMixtureConfig)
- LLaMA-Factory 0.9.5: llamafactory/hparams/*_args.py; dataset_info.json in llamafactory/data/parser.py, rows in
  llamafactory/data/converter.py and data/README.md of its repository
- axolotl 0.19.0: axolotl/utils/schemas/config.py and what it imports (AxolotlInputConfig), schemas/datasets.py
- ms-swift 4.6.0: swift/arguments/sft_args.py and its bases (SftArguments); rows in swift/dataset/preprocessor/core.py
- open-instruct at commit afe4bb32 of allenai/open-instruct: open_instruct/finetune.py (FlatArguments),
  open_instruct/dataset_transformation.py (TokenizerConfig)
- transformers' TrainingArguments, from which the first, second and fourth inherit
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Fields(BaseModel):
    """The keys of one mapping: none besides these, and no value made another type."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


Schedule = Literal["linear", "cosine", "constant_with_warmup"]  # of transformers' SchedulerType, those that g2is has
Name = Annotated[str, Field(min_length=1)]
Label = Annotated[int, Field(ge=-100)]


class TrainingArguments(Fields):
    """transformers' own, as TRL, LLaMA-Factory and ms-swift inherit them."""

    num_train_epochs: float
    learning_rate: float
    lr_scheduler_type: Schedule
    warmup_steps: float
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    weight_decay: float
    max_grad_norm: float
    adam_beta1: float
    adam_beta2: float
    bf16: bool
    seed: int
    output_dir: Name
    report_to: Literal["none"]


# TRL


class TRLDataset(Fields):
    path: Literal["json", "parquet"]
    data_files: Name
    columns: list[Literal["messages", "tools", "input_ids", "labels"]]


class TRLSettings(TrainingArguments):
    model_name_or_path: Name
    model_revision: Name = "main"
    trust_remote_code: bool = False
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    datasets: list[TRLDataset]
    assistant_only_loss: bool = False
    chat_template_path: str | None = None
    max_length: int
    packing: bool
    use_peft: bool
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    lora_target_modules: list[Name]


class Function(Fields):
    name: Name
    arguments: dict[str, Any] | str


class Call(Fields):
    id: str | None = None
    type: Literal["function"] = "function"
    function: Function


class Message(Fields):
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning_content: str | None = None
    tool_calls: list[Call | Function] | None = None  # OpenAI's form, or the function alone
    tool_call_id: str | None = None
    name: str | None = None


class TRLRow(Fields):
    id: str
    messages: list[Message]
    tools: str | None = None  # JSON, which its trainer reads


class TokenRow(Fields):
    """tokens.parquet, of TRL and axolotl."""

    id: str
    input_ids: list[int]
    attention_mask: list[Literal[1]]
    labels: list[Label]


# LLaMA-Factory


class LlamaFactorySettings(TrainingArguments):
    model_name_or_path: Name
    model_revision: Name = "main"
    trust_remote_code: bool = False
    stage: Literal["sft"]
    do_train: bool
    finetuning_type: Literal["lora"]
    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    lora_target: Name  # names with commas between
    tokenized_path: Name
    dataset_dir: Name
    dataset: Name
    template: Literal["empty"]
    cutoff_len: int


class LlamaFactoryColumns(Fields):
    messages: Literal["conversations"]
    tools: Literal["tools"]


class LlamaFactoryTags(Fields):
    role_tag: Literal["from"]
    content_tag: Literal["value"]
    user_tag: Literal["human"]
    assistant_tag: Literal["gpt"]
    observation_tag: Literal["observation"]
    function_tag: Literal["function_call"]
    system_tag: Literal["system"]


class LlamaFactoryDataset(Fields):
    file_name: Name
    formatting: Literal["sharegpt"]
    columns: LlamaFactoryColumns
    tags: LlamaFactoryTags


class LlamaFactoryInfo(Fields):
    g2is_selection: LlamaFactoryDataset


class LlamaFactoryTurn(Fields):
    from_: Literal["system", "human", "gpt", "observation", "function_call"] = Field(alias="from")
    value: str


class LlamaFactoryRow(Fields):
    conversations: list[LlamaFactoryTurn]
    tools: str  # JSON, or nothing


class LlamaFactoryTokens(Fields):
    input_ids: list[int]
    attention_mask: list[Literal[1]]
    labels: list[Label]


# axolotl


class AxolotlDataset(Fields):
    path: Name
    ds_type: Literal["parquet"]
    type: None


class AxolotlSettings(Fields):
    base_model: Name
    revision_of_model: str | None = None
    trust_remote_code: bool | None = None
    datasets: list[AxolotlDataset]
    dataset_prepared_path: str | None
    val_set_size: float | None
    train_on_inputs: bool | None
    sequence_len: int
    sample_packing: bool | None
    adapter: Literal["lora"]
    lora_r: int | None
    lora_alpha: int | None
    lora_dropout: float | None
    lora_target_modules: list[Name]
    num_epochs: float
    learning_rate: float
    lr_scheduler: Schedule
    warmup_steps: int | None
    micro_batch_size: int | None
    gradient_accumulation_steps: int | None
    optimizer: Literal["adamw_torch"]
    weight_decay: float | None
    max_grad_norm: float | None
    adam_beta1: float | None
    adam_beta2: float | None
    bf16: bool | Literal["auto"] | None
    seed: int | None
    output_dir: Name


class AxolotlTextDataset(Fields):
    """What the remark at the end of axolotl.yaml says, for another model."""

    path: Name
    ds_type: Literal["json"]
    type: Literal["chat_template"]
    field_messages: Literal["messages"]
    message_field_training: Literal["train"]
    roles_to_train: list[Literal["assistant"]]
    train_on_eos: Literal["turn"]


class AxolotlMessage(Message):
    train: bool


class AxolotlRow(Fields):
    id: str
    messages: list[AxolotlMessage]
    tools: list[dict[str, Any]] | None = None


# ms-swift


class SwiftSettings(TrainingArguments):
    model: Name
    model_type: Literal["llama", "mistral", "mixtral", "phi3", "qwen2", "qwen3"] | None = None
    model_revision: str | None = None
    use_hf: bool
    dataset: list[Name]
    split_dataset_ratio: float
    template: Literal["dummy"]
    use_chat_template: bool
    loss_scale: Literal["default"]
    max_length: int
    truncation_strategy: Literal["delete", "left", "right", "split"]
    packing: bool
    tuner_type: Literal["lora"]
    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    target_modules: list[Name]
    fp16: bool


class SwiftTurn(Fields):
    role: Literal["user", "assistant"]
    content: str
    loss: bool | None = None


class SwiftRendered(Fields):
    messages: list[SwiftTurn]


class SwiftCall(Fields):
    name: Name
    arguments: dict[str, Any] | str


class SwiftMessage(Fields):
    role: Literal["system", "user", "assistant", "tool", "tool_call"]
    content: str | SwiftCall
    loss: bool | None = None


class SwiftRow(Fields):
    id: str
    messages: list[SwiftMessage]
    tools: list[dict[str, Any]] | None = None


# open-instruct


class OpenInstructSettings(Fields):
    model_name_or_path: Name
    model_revision: str | None = None
    tokenizer_name_or_path: Name
    trust_remote_code: bool = False
    use_flash_attn: bool
    dataset_mixer_list: list[str]
    dataset_mixer_list_splits: list[Literal["train"]]
    dataset_transform_fn: list[Literal["sft_tulu_tokenize_and_truncate_v1", "sft_tulu_filter_v1"]]
    max_seq_length: int | None
    use_lora: bool
    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    num_train_epochs: int
    learning_rate: float
    lr_scheduler_type: Schedule
    warmup_ratio: float
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    weight_decay: float
    clip_grad_norm: float
    seed: int
    output_dir: Name
    do_not_randomize_output_dir: bool
    push_to_hub: bool
    try_launch_beaker_eval_jobs: bool
    with_tracking: bool


class OpenInstructMessage(Fields):
    role: Literal["system", "user", "assistant"]
    content: str
    reasoning_content: str | None = None


class OpenInstructRow(Fields):
    id: str
    messages: list[OpenInstructMessage]


# What each file of an export holds: its settings or its rows. Files that are not here have no keys of a trainer's.
FILES: dict[str, dict[str, type[Fields]]] = {
    "trl": {"sft.yaml": TRLSettings, "rows.jsonl": TRLRow, "tokens.parquet": TokenRow},
    "llama-factory": {
        "train.yaml": LlamaFactorySettings,
        "dataset_info.json": LlamaFactoryInfo,
        "rows.jsonl": LlamaFactoryRow,
        "tokens": LlamaFactoryTokens,
    },
    "axolotl": {"axolotl.yaml": AxolotlSettings, "rows.jsonl": AxolotlRow, "tokens.parquet": TokenRow},
    "ms-swift": {"sft.yaml": SwiftSettings, "rendered.jsonl": SwiftRendered, "rows.jsonl": SwiftRow},
    "open-instruct": {"finetune.yaml": OpenInstructSettings, "rows.jsonl": OpenInstructRow},
}
WITHOUT_KEYS = {"chat_template.jinja", "tokenizer"}  # a template; a tokenizer and model settings as transformers saves
SETTINGS = {trainer: next(name for name in files if name.endswith(".yaml")) for trainer, files in FILES.items()}
