"""The trainers that a selection can be written for."""

from g2is.outputs.trainers import axolotl, llama_factory, ms_swift, open_instruct, trl
from g2is.outputs.trainers.handover import Write

TRAINERS: dict[str, Write] = {
    "trl": trl.write,
    "llama-factory": llama_factory.write,
    "axolotl": axolotl.write,
    "open-instruct": open_instruct.write,
    "ms-swift": ms_swift.write,
}
