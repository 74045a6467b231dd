"""Commands of the command line, one file each; `fastsnn_np.cli` joins them."""

from . import convert, data, doctor, evaluate, info, predict
from ._command import Command, add_to

__all__ = ["COMMANDS", "Command", "add_to"]

#: by name
COMMANDS = {
    command.name: command
    for command in (
        doctor.COMMAND,
        data.COMMAND,
        info.COMMAND,
        evaluate.COMMAND,
        predict.COMMAND,
        convert.COMMAND,
    )
}
