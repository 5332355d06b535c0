"""What no command accepts: for each input one line on stderr, code 2, and no file.

An option that is added needs its row here, see `test_every_option_has_its_row`.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import pytest
from tiny_speech import LORA, TINY, tiny_folder
from transcript_matches import Vocabulary, match

from aajax import cli, envs, schema
from aajax.api import games, leagues, text_leagues
from aajax.commands import (
    bench,
    bench_lm,
    bench_lm_iteration,
    bench_lm_population,
    export,
    league,
    lm,
    play,
    plot,
    train,
    train_lm,
    transcript,
)
from aajax.commands import list as list_
from aajax.dialogue import registry
from aajax.dialogue.play.matches import save_matches
from aajax.dialogue.play.seating import Seating
from aajax.errors import InputError
from aajax.lm.checkpoints.peft_folder import save_peft
from aajax.lm.model.lora import init_adapters
from aajax.training.lm_config import LmConfig
from aajax.training.lm_presets import LM_PRESETS
from aajax.training.presets import PRESETS
from aajax.training.run import open_folder

SMALL = "--num-games 8 --num-steps 4 --num-updates 2 --seeds 2"

# Command → rows of what follows it, and the line, or how it begins. In both, {run},
# {words}, {model} and {adapter} are folders: of a small run, of a run of a language
# model, of a model, and of an adapter; {here} is an empty one.
ROWS = {
    "": [
        ("trian", "aajax: command is 'trian': one of train, league, play, plot, "),
        ("--no-such", "aajax: command is '--no-such': one of train, league, play, "),
    ],
    "train": [
        ("idp", "preset is 'idp': one of those that aajax train --help lists is need"),
        ("--seeds 3", "preset is '--seeds': one of those that aajax train --help lis"),
    ],
    "train ipd": [
        ("--meta.games 0", "meta.games is 0: at least 1 is needed"),
        ("--meta.episodes 0", "meta.episodes is 0: at least 1 is needed"),
        ("--meta.rule best", "meta.rule is 'best': one of coala, mfos, batch_unaware"),
        ("--num-lookahead 0", "num_lookahead is 0: at least 1 is needed"),
        ("--num-outer 0", "num_outer is 0: at least 1 is needed"),
        ("--inner-penalty -1", "inner_penalty is -1.0: a number in [0, "),
        ("--outer-penalty -1", "outer_penalty is -1.0: a number in [0, "),
        ("--naive-rate -1", "naive_rate is -1.0: a number in [0, 1000] is needed"),
        ("--sweep.inner-penalty -1", "sweep.inner_penalty has -1.0: a number in [0, "),
        ("--sweep.outer-penalty -1", "sweep.outer_penalty has -1.0: a number in [0, "),
        ("--sweep.naive-rate -1", "sweep.naive_rate has -1.0: a number in [0, 1000]"),
        ("--devices 0", "devices is 0: "),
        ("--devices few", "devices is 'few': "),
        ("--shard agents", "shard is 'agents': one of seeds, games is needed"),
        ("--game chess", "game is 'chess': one of ipd, ipd_points, contribution, "),
        ("--game", "game has no value: a text is needed"),
        (
            "--options width=3",
            "options has width=3: game 'ipd' has no such option, only ",
        ),
        ("--options ends", "options has 'ends': name=value is needed"),
        ("--options ends=no", "options has ends=no: true or false is needed"),
        ("--options ends=maybe", "options has ends=maybe: true or false is needed"),
        ("--options reward=abc", "options has reward=abc: a finite number is needed"),
        (
            "--options reward=1e39",
            "options has reward=1e39: a number of float32, of at m",
        ),
        ("--learning-rate 1e39", "learning_rate is 1e+39: a number in [0, 1000] is n"),
        ("--network.value-scale 1e39", "network.value_scale is 1e+39: a number of f"),
        ("--options reward=inf", "options has reward=inf: a finite number is needed"),
        ("--options reward=1 reward=2", "options has reward twice: once is needed"),
        (
            "--options reward=1 --options reward=2",
            "options is given twice: once, with all",
        ),
        ("--options", "options has no value: at least one is needed"),
        ("--options num_steps=3", "options has num_steps=3: num_steps of the run, "),
        (
            "--options continuation=2",
            "continuation is 2.0: a probability in [0, 1] is ",
        ),
        (
            "--game coin --options height=2.5",
            "options has height=2.5: a whole number is ",
        ),
        (
            "--game coin --options coins=3",
            "options has coins=3: one of one, each is needed",
        ),
        (
            "--game harvest --options view=1,2",
            "options has view=1,2: 4 values with commas",
        ),
        ("--payoff {}", "payoff is '{}': nested lists of numbers, or a .json or .npy"),
        ("--payoff [[1,2],[3,4]]", "payoff has shape (2, 2): [N, A_1, ..., A_N] is"),
        (
            "--payoff [[[1,0],[2]]]",
            "payoff is '[[[1,0],[2]]]': nested lists of numbers",
        ),
        (
            "--payoff nowhere.npy",
            "payoff is 'nowhere.npy': nested lists of numbers, or",
        ),
        ("--payoff nowhere.json", "payoff is 'nowhere.json': nested lists of numbers"),
        (
            "--payoff [[[1e99]]]",
            "payoff is '[[[1e99]]]': finite numbers of float32 are",
        ),
        ('--payoff [["a"]]', "payoff is '[[\"a\"]]': nested lists of numbers, or a"),
        (
            "--payoff [[[1,2],[3,4]],[[1,2],[3,4]]] --game coin",
            "payoff is '[[[1,2],[3,4]],[[1,2],[3,4]]]': none is needed with game",
        ),
        ("--policy lstm", "policy is 'lstm': one of tabular, mlp, gru, transformer, "),
        ("--hidden-size 0", "hidden_size is 0: at least 1 is needed"),
        ("--hidden-size 3e9", "hidden_size is '3e9': a whole number of at least 1 is"),
        (
            "--hidden-size 3000000000",
            "hidden_size is 3000000000: at most 2147483647 is",
        ),
        (
            "--policy transformer --hidden-size 12",
            "hidden_size is 12: a multiple of twice the 4 heads is needed",
        ),
        ("--network.encoder-layers -1", "network.encoder_layers is -1: at least 0 is"),
        (
            "--network.readout-layers x",
            "network.readout_layers is 'x': a whole number ",
        ),
        ("--network.readout-size 0", "network.readout_size is 0: at least 1 is needed"),
        ("--network.critic-size -1", "network.critic_size is -1: at least 0 is needed"),
        (
            "--network.shared --network.critic-size 4",
            "network.critic_size is 4: 0 is needed where actor and critic share a",
        ),
        (
            "--network.activation gelu",
            "network.activation is 'gelu': one of tanh, relu",
        ),
        ("--network.value-scale 0", "network.value_scale is 0.0: a number above 0 is"),
        ("--network.channels 4 0", "network.channels has 0: at least 1 is needed"),
        ("--network.blocks 0", "network.blocks is 0: at least 1 is needed"),
        ("--network.heads 0", "network.heads is 0: at least 1 is needed"),
        ("--proposals some", "proposals is 'some': one of binned, normal is needed"),
        ("--num-bins 1", "num_bins is 1: at least 2 is needed"),
        ("--explore hard", "explore is 'hard': one of soft, greedy is needed"),
        ("--algorithm dqn", "algorithm is 'dqn': one of naive, sum_of_rewards, "),
        ("--past future", "past is 'future': one of discounted, strict, inclusive, "),
        ("--learner sgd", "learner is 'sgd': one of policy_gradient, ppo is needed"),
        (
            "--algorithm loqa --learner ppo",
            "learner is 'ppo': 'policy_gradient' is needed with algorithm 'loqa'",
        ),
        ("--num-epochs 0", "num_epochs is 0: at least 1 is needed"),
        ("--num-minibatches 0", "num_minibatches is 0: at least 1 is needed"),
        ("--baseline none", "baseline is 'none': one of group, critic is needed"),
        ("--target-rate 1.5", "target_rate is 1.5: a number in [0, 1] is needed"),
        ("--whiten yes", "arguments have 'yes': there is no option that takes it"),
        ("--whiten-over all", "whiten_over is 'all': one of learner, table is needed"),
        ("--parameters own", "parameters is 'own': one of shared, separate is needed"),
        (
            "--game matching_pennies",
            "parameters is 'shared': 'separate' is needed in a",
        ),
        ("--opponents.capacity -1", "opponents.capacity is -1: at least 0 is needed"),
        ("--opponents.every 0", "opponents.every is 0: at least 1 is needed"),
        (
            "--opponents.capacity 2 --opponents.groups 5",
            "opponents.groups is 5: a divisor of the 512 games is needed",
        ),
        ("--opponents.current 2", "opponents.current is 2.0: a number in [0, 1] is "),
        ("--opponents.seats -1", "opponents.seats is -1: at least 0 is needed"),
        (
            "--replay.games 512",
            "replay.games is 512: fewer than the 512 games is needed",
        ),
        (
            "--replay.games 8 --replay.capacity 8",
            "replay.capacity is 8: more than the 8 games that an update adds is needed",
        ),
        ("--num-games 0", "num_games is 0: at least 1 is needed"),
        (
            "--num-game 8",
            "option is --num-game: there is none of that name; is --num-g",
        ),
        (
            "--nosuch 8",
            "option is --nosuch: there is none of that name; aajax train ipd --help",
        ),
        ("--out=", "out is '': a path is needed"),
        ("--out {here}/beta[1]", "out is '{here}/beta[1]': a path without any of * ? "),
        ("--payoff /tmp", "payoff is '/tmp': nested lists of numbers, or a .json or"),
        (
            "--payoff [[[true,0],[1,0]],[[1,1],[0,1]]]",
            "payoff is '[[[true,0],[1,0]],[[1,1],[0,1]]]': nested lists of numbers, or",
        ),
        (
            "--game coin --options height=1000000 --policy mlp",
            "height * width is 3000000: at most 4096 cells are needed",
        ),
        (
            "--num-games 1000000000",
            "num_games is 1000000000: observations of 10000000000 games (of all seeds",
        ),
        (
            "-n 8",
            "option is -n: there is none of that name; aajax train ipd --help nam",
        ),
        ("--group-size 5", "group_size is 5: a divisor of the 512 games is needed"),
        ("--num-steps 0", "num_steps is 0: at least 1 is needed"),
        ("--episode-steps 3", "episode_steps is 3: 0, or at least the 16 steps of an "),
        ("--memory long", "memory is 'long': one of episode, update is needed"),
        ("--num-updates 0", "num_updates is 0: at least 1 is needed"),
        ("--num-chunks 3", "num_chunks is 3: a divisor of the 512 games is needed"),
        ("--optimizer lion", "optimizer is 'lion': one of adam, sgd is needed"),
        (
            "--max-gradient-norm -1",
            "max_gradient_norm is -1.0: a number of at least 0 ",
        ),
        (
            "--max-gradient-norm inf",
            "max_gradient_norm is inf: a number of at least 0 ",
        ),
        ("--seeds many", "seeds is 'many': a whole number of at least 1 is needed"),
        ("--seeds", "seeds has no value: a whole number of at least 1 is needed"),
        (
            "--sweep.gamma 0 --sweep.gamma 1",
            "sweep.gamma is given twice: once, with all its values, is needed",
        ),
        ("--seeds 1 2", "arguments have '2': there is no option that takes it"),
        ("--first-seed -1", "first_seed is -1: a whole number in [0, 2^32) is needed"),
        (
            "--seeds 2 --first-seed 4294967295",
            "first_seed is 4294967295: at most 4294967294 is needed, so that all 2 ",
        ),
        ("--beta nan", "beta is nan: a number in [-1e+06, 1e+06] is needed"),
        ("--beta -inf", "beta is -inf: a number in [-1e+06, 1e+06] is needed"),
        ("--gamma 1.1", "gamma is 1.1: a number in [0, 1] is needed"),
        ("--past-gamma -0.1", "past_gamma is -0.1: a number in [0, 1] is needed"),
        ("--gae_lambda 2", "gae_lambda is 2.0: a number in [0, 1] is needed"),
        (
            "--learning-rate -1",
            "learning_rate is -1.0: a number in [0, 1000] is needed",
        ),
        (
            "--critic-learning-rate x",
            "critic_learning_rate is 'x': a number in [0, 1000",
        ),
        ("--exploration 2", "exploration is 2.0: a number in [0, 1] is needed"),
        ("--entropy-bonus -1", "entropy_bonus is -1.0: a number in [0, 1e+06] is "),
        ("--clip -1", "clip is -1.0: a number in [0, 1e+06] is needed"),
        ("--dice_lambda 2", "dice_lambda is 2.0: a number in [0, 1] is needed"),
        ("--lookahead-rate -1", "lookahead_rate is -1.0: a number in [0, 1e+06] is "),
        ("--final.num-updates 0", "final.num_updates is 0: at least 1 is needed"),
        ("--log stdout", "log has 'stdout': one of tensorboard, wandb is needed"),
        ("--log wandb wandb", "log has 'wandb' twice: once is needed"),
        ("--final.exploration 2", "final.exploration is 2.0: a number in [0, 1] is "),
        (
            "--final.entropy-bonus x",
            "final.entropy_bonus is 'x': a number in [0, 1e+06",
        ),
        ("--sweep.beta", "sweep.beta has no value: at least one is needed"),
        ("--sweep.beta 1 1", "sweep.beta has 1.0 twice: once is needed"),
        ("--sweep.beta 1 x", "sweep.beta has 'x': a number in [-1e+06, 1e+06] is "),
        ("--sweep.gamma 0.9 2", "sweep.gamma has 2.0: a number in [0, 1] is needed"),
        ("--sweep.past-gamma nan", "sweep.past_gamma has nan: a number in [0, 1] is "),
        (
            "--sweep.gae_lambda 2",
            "sweep.gae_lambda has 2.0: a number in [0, 1] is needed",
        ),
        ("--sweep.learning-rate -1", "sweep.learning_rate has -1.0: a number in [0, 1"),
        ("--sweep.critic-learning-rate -1", "sweep.critic_learning_rate has -1.0: a n"),
        ("--sweep.exploration 2", "sweep.exploration has 2.0: a number in [0, 1] is "),
        ("--sweep.entropy-bonus -1", "sweep.entropy_bonus has -1.0: a number in [0, 1"),
        ("--sweep.clip -1", "sweep.clip has -1.0: a number in [0, 1e+06] is needed"),
        (
            "--sweep.dice_lambda 2",
            "sweep.dice_lambda has 2.0: a number in [0, 1] is needed",
        ),
        ("--sweep.lookahead-rate x", "sweep.lookahead_rate has 'x': a number in [0, 1"),
        ("--sweep.past sign bright", "sweep.past has 'bright': one of discounted, str"),
        ("--sweep.baseline group group", "sweep.baseline has 'group' twice: once is n"),
        ("--resume", "out is 'runs/ipd': it holds no run to resume"),
        ("--resume true", "arguments have 'true': there is no option that takes it"),
        (
            f"{SMALL} --out {{run}}",
            "out is '{run}': it holds this run already; continue",
        ),
        (
            f"{SMALL} --beta 2 --out {{run}} --resume",
            "out is '{run}': it holds another",
        ),
        (
            "--num-games 8 --seeds 2 --num-updates 3 --beta 2 --gamma 0.5 --policy mlp "
            "--out {run} --resume",
            "out is '{run}': it holds another run (hyperparameters.beta is 1.0 there "
            "and 2.0 here, hyperparameters.gamma is 0.96 there and 0.5 here, num_steps "
            "is 4 there and 16 here, and 1 more); what is left out has its default: ",
        ),
        (
            f"{SMALL} --out {{model}}",
            "out is '{model}': it holds another run (architectures is ",
        ),
        (f"{SMALL} --out {{image}}", "out is '{image}': a folder to write to is ne"),
        (f"{SMALL} --out /proc/a", "out is '/proc/a': a folder to write to is needed"),
        (
            f"{SMALL} --out {{model}}/..",
            "out is '{model}/..': it holds files that are no run",
        ),
    ],
    "train lm-ipd": [
        ("--seeds 0", "seeds is 0: at least 1 is needed"),
        ("--seeds 2 --seed 4294967295", "seed is 4294967295: at most 4294967294 is "),
        ("--sweep.algorithm best", "sweep.algorithm has 'best': one of naive, sum_of_"),
        ("--sweep.past bright", "sweep.past has 'bright': one of discounted, strict"),
        ("--sweep.baseline critic", "sweep.baseline has 'critic': one of group, batch"),
        ("--sweep.beta 1 1", "sweep.beta has 1.0 twice: once is needed"),
        (
            "--sweep.past own.py:PAST ./own.py:PAST",
            "sweep.past has './own.py:PAST' twice: once is needed",
        ),
        ("--sweep.gamma 2", "sweep.gamma has 2.0: a number in [0, 1] is needed"),
        ("--sweep.past-gamma 2", "sweep.past_gamma has 2.0: a number in [0, 1] is "),
        ("--sweep.learning-rate -1", "sweep.learning_rate has -1.0: a number in [0, "),
        (
            "--sweep.critic-learning-rate -1",
            "sweep.critic_learning_rate has -1.0: a number in [0, ",
        ),
        (
            "--sweep.critic-learning-rate 1",
            "baseline is 'batch': 'critic' is needed with ",
        ),
        (
            "--baseline critic --sweep.baseline batch --sweep.critic-learning-rate 1",
            "sweep.baseline is ['batch']: none is needed with sweep.critic_learning_r",
        ),
        ("--sweep.kl -1", "sweep.kl has -1.0: a number in [0, "),
        ("--sweep.entropy-bonus -1", "sweep.entropy_bonus has -1.0: a number in [0, "),
        ("--sweep.reward-scale 0", "sweep.reward_scale has 0.0: a number above 0 is"),
        ("--sweep.group-size 0", "sweep.group_size has 0: at least 1 is needed"),
        ("--sweep.group-size 1 3", "group_size is 3: a divisor of num_matches (64)"),
        ("--sweep.past-share 2", "sweep.past_share has 2.0: a number in [0, 1] is "),
        ("--sweep.rank 4 8", "option is --sweep.rank: there is none of that name"),
        ("--size huge", "size is 'huge': one of smollm2, qwen2"),
        (
            "--game go",
            "game is 'go': one of ipd, chicken, stag-hunt, deal-or-no-",
        ),
        ("--options num_rounds", "options has 'num_rounds': name=value is needed"),
        (
            "--options num_rounds=x",
            "options has num_rounds=x: a whole number is needed",
        ),
        (
            "--options num_rounds=0",
            "num_rounds is 0: a whole number from 1 on is needed",
        ),
        (
            "--options payoff=[[1],[2,3]]",
            "options has payoff=[[1],[2,3]]: nested lists",
        ),
        ("--options wording=full", "options has wording=full: game 'ipd' has no such "),
        (
            "--prompts rude",
            "prompts is 'rude': full, brief, short or a folder is",
        ),
        ("--prompts {here}", "prompts is '{here}': a file {here}/"),
        (
            "--model {model} --chat-template rude",
            "chat_template is 'rude': one of chatml, gemma, llama3, or a file with a ",
        ),
        ("--model nowhere", "model is 'nowhere': a folder, a .gguf file, smollm2 or"),
        (
            "--model {model} --speaking.max-tokens 1",
            "speaking.max_tokens is 1: at least ",
        ),
        ("--pocket.family gpt2", "pocket.family is 'gpt2': one of qwen3, llama is"),
        ("--pocket.vocab-size -1", "pocket.vocab_size is -1: at least 0 is needed"),
        ("--pocket.hidden-size 3", "pocket.hidden_size is 3: an even number for each "),
        ("--pocket.layers 0", "pocket.layers is 0: at least 1 is needed"),
        ("--pocket.heads 0", "pocket.heads is 0: at least 1 is needed"),
        ("--pocket.text", "pocket.text has no value: a path is needed"),
        (
            "--pocket.rules chess",
            "pocket.rules is 'chess': one of split, trust-and-spl",
        ),
        ("--pocket.honesty 2", "pocket.honesty is 2.0: a number in [0, 1] is needed"),
        ("--pocket.honesty 0.5", "pocket.honesty is 0.5: None is needed without rules"),
        ("--pocket.steps 0", "pocket.steps is 0: at least 1 is needed"),
        ("--pocket.batch 0", "pocket.batch is 0: at least 1 is needed"),
        ("--pocket.length 100", "pocket.length is 100: at least 256 is needed"),
        (
            "--pocket.learning-rate 0",
            "pocket.learning_rate is 0.0: a number above 0 is",
        ),
        (
            "--pocket.seed -1",
            "pocket.seed is -1: a whole number in [0, 2^32) is needed",
        ),
        ("--dtype float16", "dtype is 'float16': one of float32, bfloat16 is needed"),
        (
            "--matmul-precision tf32",
            "matmul_precision is 'tf32': one of float32, bfloat16 is needed",
        ),
        (
            "--algorithm loqa",
            "algorithm is 'loqa': one of naive, sum_of_rewards, advantage_alignment, "
            "or package.module:NAME or file.py:NAME of a function LmConfig -> Goal is",
        ),
        ("--beta nan", "beta is nan: a number in [-1e+06, 1e+06] is needed"),
        (
            "--past future",
            "past is 'future': one of discounted, strict, inclusive, sum",
        ),
        ("--past-gamma 2", "past_gamma is 2.0: a number in [0, 1] is needed"),
        ("--gamma 2", "gamma is 2.0: a number in [0, 1] is needed"),
        (
            "--baseline none",
            "baseline is 'none': one of group, batch, critic is needed",
        ),
        ("--gae_lambda 2", "gae_lambda is 2.0: a number in [0, 1] is needed"),
        ("--reward-scale 0", "reward_scale is 0.0: a number above 0 is needed"),
        ("--num-matches 0", "num_matches is 0: at least 1 is needed"),
        ("--group-size 7", "group_size is 7: a divisor of num_matches (64) is needed"),
        ("--baseline group", "group_size is 1: at least 2 is needed with baseline 'gr"),
        ("--num-iterations 0", "num_iterations is 0: at least 1 is needed"),
        ("--learners none", "learners is 'none': one of both, alternate, first is "),
        ("--past-share 2", "past_share is 2.0: a number in [0, 1] is needed"),
        ("--past-per day", "past_per is 'day': one of match, group is needed"),
        ("--guest-share -1", "guest_share is -1.0: a number in [0, 1] is needed"),
        ("--guest nosuch", "guest is 'nosuch': none is needed with a guest_share of 0"),
        (
            "--guest nosuch --guest-share 0.5",
            "guest is 'nosuch': one of always_cooperate, ",
        ),
        ("--guest api:foo --guest-share 1", "guest is 'api:foo': api:URL#MODEL is ne"),
        (
            "--guest a.py:X --guest-share 1",
            "guest is 'a.py:X': there is no file a.py",
        ),
        (
            "--guest {run} --guest-share 1",
            "guest is '{run}': a run of `aajax train lm",
        ),
        ("--guest-share 0.5", "guest is None: a player is needed with a gues"),
        ("--past-selves.every -1", "past_selves.every is -1: at least 0 is needed"),
        (
            "--past-selves.every 0",
            "past_selves.every is 0: at least 1 is needed with p",
        ),
        ("--past-selves.most 0", "past_selves.most is 0: at least 1 is needed"),
        ("--api.concurrency 0", "api.concurrency is 0: at least 1 is needed"),
        ("--api.timeout 0", "api.timeout is 0.0: a number in (0, 86400] is needed"),
        ("--api.temperature -1", "api.temperature is -1.0: a number of at least 0 is "),
        ("--api.max-tokens 0", "api.max_tokens is 0: at least 1 is needed"),
        ("--api.tries 0", "api.tries is 0: at least 1 is needed"),
        ("--api.max-requests -1", "api.max_requests is -1: a whole number in [0, 9007"),
        (
            "--api.max-total-tokens x",
            "api.max_total_tokens is 'x': a whole number in [",
        ),
        ("--api.key-variable a-b", "api.key_variable is no name of an environment va"),
        (
            "--speaking.temperature 0",
            "speaking.temperature is 0.0: a number above 0 is",
        ),
        ("--speaking.max-tokens 0", "speaking.max_tokens is 0: at least 1 is needed"),
        ("--speaking.free-tries -1", "speaking.free_tries is -1: at least 0 is needed"),
        ("--speaking.max-cache 0", "speaking.max_cache is 0: at least 1 is needed"),
        ("--speaking.cache-size 0", "speaking.cache_size is 0: at least 1 is needed"),
        ("--eval.matches 0", "eval.matches is 0: at least 1 is needed"),
        ("--eval.matches 3", "eval.matches is 3: an even number is needed"),
        (
            "--speaking.prefill-chunk 0",
            "speaking.prefill_chunk is 0: at least 1 is ",
        ),
        (
            "--speaking.prefill-chunk 48",
            "speaking.prefill_chunk is 48: a power of tw",
        ),
        ("--lora.rank 0", "lora.rank is 0: at least 1 is needed"),
        ("--lora.alpha inf", "lora.alpha is inf: a number above 0 is needed"),
        ("--lora.targets", "lora.targets is (): at least 1 value is needed"),
        ("--lora.targets up head", "lora.targets has 'head': one of query, key, value"),
        ("--lora.targets up up", "lora.targets has 'up' twice: once is needed"),
        (
            "--model {model} --initial-adapter nowhere",
            "initial_adapter is 'nowhere': a folder with adapter_config.json, or that "
            "of a finished run or of one of its members, is needed",
        ),
        (
            "--model {model} --initial-adapter {run}",
            "initial_adapter is '{run}': a folder with adapter_config.json, or that ",
        ),
        ("--initial-adapter", "initial_adapter has no value: a path is needed"),
        ("--model", "model has no value: a path is needed"),
        ("--prompts", "prompts has no value: a text is needed"),
        (
            "--learning-rate -1",
            "learning_rate is -1.0: a number in [0, 1000] is needed",
        ),
        (
            "--final-learning-rate 1",
            "final_learning_rate is 1.0: a number from 0 to le",
        ),
        ("--critic-learning-rate -1", "critic_learning_rate is -1.0: a number in [0, "),
        ("--max-gradient-norm 0", "max_gradient_norm is 0.0: a number above 0 is "),
        ("--ratio-cap 0", "ratio_cap is 0.0: a number above 0 is needed"),
        ("--kl -1", "kl is -1.0: a number in [0, 1e+06] is needed"),
        (
            "--final-num-iterations 0",
            "final_num_iterations is 0: at least 1 is needed",
        ),
        ("--log stdout", "log has 'stdout': one of tensorboard, wandb is needed"),
        ("--final-kl 1", "final_kl is 1.0: a number from 0 to kl (0) is needed"),
        ("--kl-gradient k2", "kl_gradient is 'k2': one of k3, reverse is needed"),
        ("--entropy-bonus -1", "entropy_bonus is -1.0: a number in [0, 1e+06] is "),
        ("--final-entropy-bonus 9", "final_entropy_bonus is 9.0: a number from 0 to e"),
        ("--num-microbatches 48", "num_microbatches is 48: a divisor of the 64 seats "),
        ("--data 0", "data is 0: at least 1 is needed"),
        ("--fsdp 0", "fsdp is 0: at least 1 is needed"),
        ("--tensor 0", "tensor is 0: at least 1 is needed"),
        ("--play-tensor 0", "play_tensor is 0: at least 1 is needed"),
        ("--play-tensor 2", "play_tensor is 2: a divisor of 1, the number of devices"),
        ("--tensor 1000", "mesh is data 1 x fsdp 1 x tensor 1000: a product of "),
        ("--seed -1", "seed is -1: a whole number in [0, 2^32) is needed"),
        ("--seed 99999999999999999999", "seed is 99999999999999999999: a whole number"),
        ("--save-every 0", "save_every is 0: at least 1 is needed"),
        ("--matches-every 0", "matches_every is 0: at least 1 is needed"),
        ("--model {model} --resume", "out is 'runs/lm-ipd': it holds no run to resume"),
        ("--remat 1", "arguments have '1': there is no option that takes it"),
        ("--dry-run", "topology is None: one of v5e-1|4|8|16|32|64|128|256, v5p-8|16"),
        ("--dry-run --topology v5e-3", "topology is 'v5e-3': one of v5e-1|4|8|16|32"),
        ("--dry-run --topology v5e-4", "model is None: a folder, or one of qwen2.5-0"),
        ("--topology v5e-4", "topology is 'v5e-4': it needs --dry-run"),
        ("--length 9", "length is '9': it needs --dry-run"),
        ("--save a", "save is 'a': it needs --dry-run"),
        ("--programs nowhere", "No such file or directory: nowhere"),
        ("--programs {run}", "Is a directory: {run}"),
        ("--programs {image}", "programs is '{image}': a file of --save is needed"),
        (
            "--lambda 1",
            "option is --lambda: there is none of that name; is --gae-lambda m",
        ),
    ],
    "league": [
        ("", "runs is [] and game None: either folders of runs or a game is needed"),
        ("{run} --game ipd", "runs is ['{run}'] and game ipd: either folders of "),
        ("nowhere", "run is 'nowhere': a folder with a run is needed"),
        ("{words}", "run is '{words}': one of small policies is needed; language mod"),
        ("{run} {run}", "runs has '{run}' and '{run}': they are one, and each is "),
        ("--game chess", "game is 'chess': one of ipd, ipd_points, contribution, "),
        ("--game ipd --scripted", "scripted is []: at least one player is needed"),
        ("--game ipd --scripted nobody", "scripted has 'nobody': one of "),
        ("--game ipd --scripted a.py:X", "scripted has 'a.py:X': there is no file a."),
        ("--game ipd --out {image}", "out is '{image}': a folder to write to is need"),
        (
            "--game ipd --scripted grim grim",
            "scripted has 'grim' twice: once is needed",
        ),
        ("--game ipd --num-games 0", "num_games is 0: at least 1 is needed"),
        ("--game ipd --num-steps 0", "num_steps is 0: at least 1 is needed"),
        ("--game ipd --out", "out has no value: a path is needed"),
        ("--game ipd --seed 3", "option is --seed: there is none of that name; aajax "),
    ],
    "league --text": [
        ("base", "players is ['base'] and game None: the folder of a run among them"),
        ("--game ipd", "players is []: one or more, each once, are needed"),
        ("grim random --game ipd --pairs x:y", "pairs has 'x:y': A:B is needed, two "),
        ("grim grim --game ipd", "players is ['grim', 'grim']: one or more, each once"),
        ("nobody --game ipd", "player is 'nobody': one of always_cooperate, always_"),
        ("api:x --game ipd", "player is 'api:x': api:URL#MODEL is needed, such as api"),
        ("api:http://[bad#m --game ipd", "url is 'http://[bad': one like https://api."),
        ("{run} --game ipd", "player is '{run}': a run of `aajax train lm-...` is "),
        (
            "grim --game go",
            "game is 'go': one of ipd, chicken, stag-hunt, deal-or-",
        ),
        ("grim --game ipd --options x", "options has 'x': name=value is needed"),
        (
            "grim --game ipd --prompts rude",
            "prompts is 'rude': full, brief, short or ",
        ),
        ("grim --game ipd --prompts", "prompts has no value: a text is needed"),
        ("grim --game ipd --model", "model has no value: a path is needed"),
        (
            "base --game ipd --model nowhere",
            "model is 'nowhere': a folder, a .gguf file, smollm2 or",
        ),
        (
            "base --game ipd --model {model} --chat-template rude",
            "chat_template is 'rude': one of chatml, gemma, llama3, or a file with a ",
        ),
        ("model: --game ipd", "player is 'model:': model:MODEL[,chat_template=NAME]["),
        (
            "model:{model},adapter={run} --game ipd",
            "player is 'model:{model},adapter={run}': an adapter that is a folder with",
        ),
        (
            "base --game ipd --model {model} --max-tokens 1",
            "max_tokens is 1: at least ",
        ),
        ("grim --game ipd --out {image}", "out is '{image}': a folder to write to is"),
        (
            "grim --game ipd --dtype int8",
            "dtype is 'int8': one of float32, bfloat16 is",
        ),
        ("grim --game ipd --temperature 0", "temperature is 0.0: a number above 0 is"),
        ("grim --game ipd --max-tokens 0", "max_tokens is 0: at least 1 is needed"),
        ("grim --game ipd --max-cache 0", "max_cache is 0: at least 1 is needed"),
        ("grim --game ipd --free-tries -1", "free_tries is -1: at least 0 is needed"),
        ("grim --game ipd --num-matches 0", "num_matches is 0: at least 1 is needed"),
        (
            "grim --game ipd --matmul-precision half",
            "matmul_precision is 'half': one of float32, bfloat16 is needed",
        ),
        ("grim --game ipd --batch 0", "batch is 0: at least 1 is needed"),
        (
            "grim --game ipd --shuffle-messages",
            "shuffle_messages is True: a game with messages is needed, and ipd has",
        ),
        ("grim --game ipd --seed -1", "seed is -1: a whole number in [0, 2^32) is"),
        ("grim --game ipd --out {run}", "out is '{run}': it holds another league or "),
        ("grim --game ipd --data 0", "data is 0: at least 1 is needed"),
        ("grim --game ipd --fsdp x", "fsdp is 'x': a whole number of at least 1 is"),
        ("grim --game ipd --tensor 0", "tensor is 0: at least 1 is needed"),
        ("grim --game ipd --api.concurrency 0", "api.concurrency is 0: at least 1 is"),
        ("grim --game ipd --api.timeout nan", "api.timeout is nan: a number in (0, 86"),
        ("grim --game ipd --api.temperature x", "api.temperature is 'x': a number of "),
        ("grim --game ipd --api.max-tokens 0", "api.max_tokens is 0: at least 1 is "),
        ("grim --game ipd --api.tries 0", "api.tries is 0: at least 1 is needed"),
        ("grim --game ipd --api.max-requests -1", "api.max_requests is -1: a whole nu"),
        (
            "grim --game ipd --api.max-total-tokens -1",
            "api.max_total_tokens is -1: a w",
        ),
        (
            "grim --game ipd --api.key-variable a-b",
            "api.key_variable is no name of an ",
        ),
    ],
    "play": [
        ("", "game is missing: a text is needed"),
        ("chess --seat grim grim", "game is 'chess': one of ipd, ipd_points, contrib"),
        ("ipd", "seat is []: 2 players, one per seat, are needed"),
        ("ipd --seat", "seat has no value: at least one is needed"),
        ("ipd --seat grim nobody", "seat is 'nobody': one of always_cooperate, alwa"),
        ("ipd --seat grim a.py:X", "seat is 'a.py:X': there is no file a.py"),
        ("ipd --seat grim grim grim", "seat is ['grim', 'grim', 'grim']: 2 players, "),
        ("ipd --seat {run}:9 grim", "seat is '{run}:9': after the colon, one of the "),
        (
            "coin --seat {run} tit_for_tat",
            "seat is '{run}': a run of game 'coin' is ne",
        ),
        (
            "ipd --seat grim grim --options x=1",
            "options has x=1: game 'ipd' has no such ",
        ),
        ("ipd --seat grim grim --steps 0", "steps is 0: at least 1 is needed"),
        (
            "ipd --seat grim grim --seed -1",
            "seed is -1: a whole number in [0, 2^32) is",
        ),
        ("ipd --seat grim grim --pause -1", "pause is -1.0: a number in [0, 3600] is"),
        ("ipd --seat grim grim --pause 1e300", "pause is 1e+300: a number in [0, 3600"),
        ("ipd --seat grim grim --out a.gif", "out is 'a.gif': only games 'coin' and "),
        ("coin --seat random random --out a.bmp", "out is 'a.bmp': a name in .gif or"),
        ("ipd coin", "arguments have 'coin': there is no option that takes it"),
    ],
    "plot": [
        ("", "run is missing: a path is needed"),
        ("nowhere", "run is 'nowhere': a finished run is needed"),
        ("{run} --out {run}", "out is '{run}': a file to write to is needed"),
        ("{run} --out {here}/a.docx", "out is '{here}/a.docx': a name in .png, or in "),
        ("{run} {run}", "arguments have '{run}': there is no option that takes it"),
    ],
    "export": [
        ("", "run is missing: a path is needed"),
        ("{here}", "run is '{here}': a folder with a run or a league is needed"),
        ("{run} --out=", "out is '': a path is needed"),
        ("{run} --out {image}", "out is '{image}': a folder to write to is needed"),
        ("{run} --out {image}/a", "out is '{image}/a': a folder to write to is needed"),
        ("{run} --out /proc/a", "out is '/proc/a': a folder to write to is needed"),
    ],
    "transcript": [
        (
            "{words} --member seed_0",
            "member is 'seed_0': none is needed, as {words} is",
        ),
        ("", "run is missing: a path is needed"),
        (
            "{run}",
            "run is '{run}': a folder with matches/iteration_N.jsonl.gz of a run",
        ),
        ("{words} --out {run}", "out is '{run}': a file to write to is needed"),
        ("{words} --iterations 0", "iterations is '0': a number above 0, for the last"),
        ("{words} --matches 0", "matches is 0: at least 1 is needed"),
        ("{words} --model", "model has no value: a path is needed"),
        ("{words} --text --match -1", "match is -1: at least 0 is needed"),
        ("{words} --text=1", "text is '1': it takes no value"),
    ],
    "bench": [
        ("--only", "only is (): at least 1 value is needed"),
        ("--only chess", "only has 'chess': one of ipd-env, coin-env, negotiation-env"),
        ("--only ipd-env ipd-env", "only has 'ipd-env' twice: once is needed"),
        ("--repeats 0", "repeats is 0: at least 1 is needed"),
        ("--out {run}", "out is '{run}': a file to write to is needed"),
    ],
    "bench lm": [
        ("--model huge", "model is 'huge': one of qwen2.5-0.5b, qwen2.5-1.5b, "),
        ("--model", "model has no value: a text is needed"),
        ("--only", "only is (): at least 1 value is needed"),
        ("--batch 0", "batch is 0: at least 1 is needed"),
        ("--rounds 0", "rounds is 0: at least 1 is needed"),
        ("--rounds 99999", "rounds is 99999: at most "),
        ("--turn 0", "turn is 0: at least 1 is needed"),
        ("--prompt 0", "prompt is 0: at least 1 is needed"),
        ("--prompt 99999", "prompt is 99999: at most "),
        ("--train all", "train is 'all': one of params, adapters is needed"),
        ("--train adapters", "train is 'adapters': 'params' is needed with torch"),
        ("--model smollm2-135m --rank 0", "rank is 0: at least 1 is needed"),
        ("--model smollm2-135m --rank 999", "rank is 999: at most the hidden size, 5"),
        ("--model smollm2-135m --beside-torch", "train is 'adapters': 'params' is nee"),
        ("--training-batch 0", "training_batch is 0: at least 1 is needed"),
        ("--training-length 0", "training_length is 0: at least 1 is needed"),
        ("--report {run}", "report is '{run}': a file to write to is needed"),
        ("--repeats 0", "repeats is 0: at least 1 is needed"),
        ("--dtype int8", "dtype is 'int8': one of float32, bfloat16 is needed"),
        ("--out {run}", "out is '{run}': a file to write to is needed"),
        ("--out /proc/a.json", "out is '/proc/a.json': a file to write to is needed"),
    ],
    "bench lm-iteration": [
        ("--model nowhere", "model is 'nowhere': a folder, a .gguf file, smollm2"),
        ("--prompts long", "prompts is 'long': "),
        ("--rounds 0", "rounds is 0: at least 1 is needed"),
        ("--num-matches 0", "num_matches is 0: at least 1 is needed"),
        ("--beside-torch --repeats 0", "repeats is 0: at least 1 is needed"),
        ("--report {run}", "report is '{run}': a file to write to is needed"),
        ("--out {run}", "out is '{run}': a file to write to is needed"),
    ],
    "bench lm-population": [
        ("--members", "members is (): at least 1 value is needed"),
        ("--members 1 1", "members has 1 twice: once is needed"),
        ("--members 0", "members has 0: at least 1 is needed"),
        ("--model nowhere", "model is 'nowhere': a folder, a .gguf file, smollm2"),
        ("--prompts long", "prompts is 'long': "),
        ("--rounds 0", "rounds is 0: at least 1 is needed"),
        ("--num-matches 0", "num_matches is 0: at least 1 is needed"),
        ("--repeats 0", "repeats is 0: at least 1 is needed"),
        ("--out {run}", "out is '{run}': a file to write to is needed"),
    ],
    "lm": [
        ("", "command is missing: one of dry-run, import, pocket is needed"),
        ("fit", "command is 'fit': one of dry-run, import, pocket is needed"),
    ],
    "lm import": [
        ("", "model is missing: a text is needed"),
        ("nowhere --out {here}", "model is 'nowhere': a folder, a .gguf file, smollm2"),
        ("nowhere.gguf --out {here}", "model is 'nowhere.gguf': a GGUF file is needed"),
        ("smollm2 --out {run}", "out is '{run}': an empty or new folder is needed"),
        (
            "{model} --out {here} --chat-template rude",
            "chat_template is 'rude': one of chatml, gemma, llama3, or a file with a ",
        ),
    ],
    "lm dry-run": [
        ("", "model is missing: a text is needed"),
        ("huge", "model is 'huge': one of qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-3b, "),
        ("qwen2.5-7b --data 0", "data is 0: at least 1 is needed"),
        ("qwen2.5-7b --fsdp 3", "fsdp is 3: a divisor of hidden_size, 3584, is needed"),
        ("qwen2.5-7b --tensor 5", "tensor is 5: a divisor of num_heads x head_dim, 35"),
        ("qwen2.5-7b --memory-gb nan", "memory_gb is nan: a number above 0 is needed"),
        ("qwen2.5-7b --memory-gb -1", "memory_gb is -1.0: a number above 0 is needed"),
        ("qwen2.5-7b --memory-gb 0", "memory_gb is 0.0: a number above 0 is needed"),
        ("qwen2.5-7b --batch 0", "batch is 0: at least 1 is needed"),
        ("qwen2.5-7b --length 0", "length is 0: at least 1 is needed"),
        ("qwen2.5-7b --train all", "train is 'all': one of adapters, params is needed"),
        ("qwen2.5-7b --rank 0", "rank is 0: at least 1 is needed"),
        ("qwen2.5-7b --num-adapters 0", "num_adapters is 0: at least 1 is needed"),
        ("qwen2.5-7b --evaluated 0", "evaluated is 0: at least 1 is needed"),
        ("qwen2.5-7b --num-microbatches 5", "num_microbatches is 5: a divisor of the "),
        ("qwen2.5-7b --dtype int8", "dtype is 'int8': one of bfloat16, float32 is "),
        ("qwen2.5-7b --sampled 0", "sampled is 0: at least 1 is needed"),
        (
            "qwen2.5-7b --sampled 4096",
            "sampled is 4096: a number from 1 to 2047, below the length, is needed",
        ),
        ("qwen2.5-7b --rank 9999", "rank is 9999: at most the hidden size of the base"),
        ("qwen2.5-7b --fsdp 7", "batch is 64: its 1 parts, of 64 sequences, need to "),
        (
            "qwen2.5-7b --batch 3 --data 2",
            "batch is 3: its 1 parts, of 3 sequences, ne",
        ),
        ("qwen2.5-7b --tflops 0", "tflops is 0.0: a number above 0 is needed"),
        ("qwen2.5-7b --tflops 1", "tflops is 1.0 and memory_gbs is None: both are "),
        ("qwen2.5-7b --memory-gbs nan", "memory_gbs is nan: a number above 0 is need"),
        ("qwen2.5-7b --link-gbs 0", "link_gbs is 0.0: a number above 0 is needed"),
        ("qwen2.5-7b --topology v5e-7", "topology is 'v5e-7': one of v5e-1|4|8|16|32"),
        ("qwen2.5-7b --topology", "topology has no value: a text is needed"),
        ("qwen2.5-7b --topology v5e-8 --train params", "train is 'params': 'adapters'"),
        ("qwen2.5-7b --save a", "option is --save: there is none of that name"),
    ],
    "lm pocket": [
        ("", "out is missing: a path is needed"),
        ("--out {run}", "out is '{run}': one that is new or empty is needed"),
        ("--out {image}/a", "out is '{image}/a': a folder to write to is needed"),
        ("--out a --family gpt2", "family is 'gpt2': one of qwen3, llama is needed"),
        ("--out a --vocab-size -1", "vocab_size is -1: at least 0 is needed"),
        ("--out a --hidden-size 3", "hidden_size is 3: an even number for each of 2 "),
        ("--out a --layers 0", "layers is 0: at least 1 is needed"),
        ("--out a --heads 0", "heads is 0: at least 1 is needed"),
        ("--out a --text", "text has no value: a path is needed"),
        ("--out a --text nowhere", "No such file or directory: nowhere"),
        ("--out a --text {image}", "text is {image}: UTF-8 is needed ("),
        (
            "--out a --rules chess",
            "rules is 'chess': one of split, trust-and-split, pu",
        ),
        ("--out a --honesty 2", "honesty is 2.0: a number in [0, 1] is needed"),
        ("--out a --steps 0", "steps is 0: at least 1 is needed"),
        ("--out a --batch 0", "batch is 0: at least 1 is needed"),
        ("--out a --length 1", "length is 1: at least 256 is needed"),
        ("--out a --learning-rate 0", "learning_rate is 0.0: a number above 0 is nee"),
        ("--out a --seed 99999999999999999999", "seed is 99999999999999999999: a who"),
    ],
    "list": [
        ("worlds", "name is 'worlds': one that aajax list has is needed"),
        ("idp", "name is 'idp': one that aajax list has is needed; is ipd"),
        ("a.py:SPEC", "game is 'a.py:SPEC': there is no file a.py"),
        ("--worlds", "option is --worlds: there is none of that name; aajax list --he"),
    ],
}

# Options that accept anything, or nothing: bools, and free texts.
EXEMPT = {
    "train ipd": {"network.shared"},
    "train lm-ipd": {"system", "api.reasoning_effort", "out"},
    "league --text": {"system", "api.reasoning_effort"},
    "lm dry-run": {"remat"},
    "bench lm": {"random_weights"},
}
OPTIONS = {
    "train ipd": (train.Options, train.Options(PRESETS["ipd"][1], Path("out"))),
    "train lm-ipd": (
        train_lm.Options,
        train_lm.Options(LM_PRESETS["lm-ipd"][1], Path("out")),
    ),
    "league": (league.Options, None),
    "league --text": (text_leagues.TextLeague, None),
    "play": (play.Options, None),
    "plot": (plot.Options, None),
    "export": (export.Options, None),
    "transcript": (transcript.Options, None),
    "bench": (bench.Options, None),
    "bench lm": (bench_lm.Options, None),
    "bench lm-iteration": (bench_lm_iteration.Options, None),
    "bench lm-population": (bench_lm_population.Options, None),
    "lm import": (lm.Import, None),
    "lm dry-run": (lm.DryRun, None),
    "lm pocket": (lm.Pocket, None),
    "list": (list_.Options, None),
}

# A folder's file, what it comes to hold, and what is asked then, of {w}, a copy of the
# folder. A dictionary changes keys of the file; ... takes one away.
PLAY = "play ipd --seat {w} grim"
LEAGUE = "league {w}"
RESUME = f"train ipd {SMALL} --out {{w}} --resume"
WORDS = "league --text {w} --out {here}/out"
LEARN = "train lm-ipd --model {w}"
FIT = "lm dry-run {w}"
FILES = [
    ("run", "config.json", b"", LEAGUE, "JSON is needed, and at column 1 it is none"),
    ("run", "config.json", b'{"preset":', PLAY, "JSON is needed, and at column 11 it"),
    ("run", "config.json", b"\x00\xff", RESUME, "UTF-8 text is needed, and byte 1 is"),
    ("run", "config.json", b"[1]", RESUME, "an object is needed, not [1]"),
    ("run", "config.json", b'{"a":1,"a":2}', PLAY, "'a' is there twice, once is nee"),
    ("run", "config.json", b"[" * 20_000, PLAY, "JSON is needed (maximum recursion"),
    ("run", "config.json", {"gama": 1}, PLAY, "gama is 1: there is no such key, only"),
    (
        "run",
        "config.json",
        {"hyperparameters": [1]},
        LEAGUE,
        "hyperparameters is [1]: an object is needed",
    ),
    (
        "run",
        "config.json",
        {"hyperparameters": {"beta": "x"}},
        LEAGUE,
        "hyperparameters.beta is 'x': a n",
    ),
    (
        "run",
        "config.json",
        {"options": "a=1"},
        PLAY,
        "options is 'a=1': a tuple (in JSON",
    ),
    ("run", "config.json", {"seeds": 1.5}, PLAY, "seeds is 1.5: a whole number of at"),
    ("run", "config.json", {"game": None}, PLAY, "game is None: a text is needed"),
    ("run", "config.json", {"num_games": 0}, LEAGUE, "num_games is 0: at least 1 is"),
    ("run", "summary.json", b"{", "plot {w}", "JSON is needed, and at column 2 it is"),
    ("run", "summary.json", b"\xff", "plot {w}", "UTF-8 text is needed, and byte 0 is"),
    ("run", "summary.json", b"[]", "plot {w}", "an object is needed, not []"),
    ("run", "summary.json", b"{}", "plot {w}", "settings, or measures, of a run are"),
    ("run", "summary.json", {"settings": []}, "plot {w}", "settings is (): at least 1"),
    ("run", "summary.json", {"settings": [3]}, "plot {w}", "settings.0 is 3: an objec"),
    (
        "run",
        "summary.json",
        {"preset": ...},
        "plot {w}",
        "preset is missing: a text is",
    ),
    ("run", "metrics.jsonl", b"", "plot {w}", "at least one row of metrics is needed"),
    ("run", "metrics.jsonl", b'{"upd', "plot {w}", "at least one row of metrics is"),
    ("run", "metrics.jsonl", b"{\n", "plot {w}", "line 1: JSON is needed, and at colu"),
    ("run", "metrics.jsonl", b"[]\n", "plot {w}", "line 1 is []: an object is needed"),
    ("run", "metrics.jsonl", b"\xff\n", "plot {w}", "UTF-8 text is needed, and byte 0"),
    ("run", "metrics.jsonl", b"{}\n", "plot {w}", "update of line 1 is None: a whole"),
    (
        "run",
        "metrics.jsonl",
        b'{"update":1}\n',
        "plot {w}",
        "reward of every row is ne",
    ),
    (
        "run",
        "metrics.jsonl",
        b"{}\n",
        RESUME,
        "update and seconds of line 1 are None a",
    ),
    ("run", "metrics.jsonl", b"\xff\n", RESUME, "UTF-8 text is needed, and byte 0 is"),
    ("words", "config.json", b"{", WORDS, "JSON is needed, and at column 2 it is none"),
    (
        "words",
        "config.json",
        b"\xff",
        WORDS,
        "UTF-8 text is needed, and byte 0 is none",
    ),
    ("words", "config.json", b"[]", "transcript {w}", "an object is needed, not []"),
    ("words", "adapter/adapter_config.json", b"{", WORDS, "JSON is needed, and at col"),
    (
        "words",
        "adapter/adapter_config.json",
        {"layers_to_transform": "x"},
        WORDS,
        "layers_to_transform is 'x': a whole number of at least 0, or a tuple (in JSON",
    ),
    ("words", "adapter/adapter_config.json", {"r": 0}, WORDS, "r is 0: at least 1 is"),
    ("words", "matches.jsonl.gz", b"{}", "transcript {w}", "matches are needed (Not a"),
    ("model", "config.json", b"", LEARN, "JSON is needed, and at column 1 it is none"),
    ("model", "config.json", b"\xff\xfe", FIT, "UTF-8 text is needed, and byte 0 is"),
    ("model", "config.json", b"[]", FIT, "an object is needed, not []"),
    (
        "model",
        "config.json",
        {"model_type": ["a"]},
        FIT,
        "model_type is ['a']: one of ",
    ),
    (
        "model",
        "config.json",
        {"model_type": ...},
        FIT,
        "model_type is missing: one of ",
    ),
    (
        "model",
        "config.json",
        {"hidden_size": 1e999},
        FIT,
        "hidden_size is inf: a whole",
    ),
    (
        "model",
        "config.json",
        {"num_hidden_layers": 10**9},
        LEARN,
        "num_hidden_layers is",
    ),
    (
        "model",
        "config.json",
        {"num_hidden_layers": 10**5},
        LEARN,
        "num_hidden_layers is",
    ),
    (
        "model",
        "config.json",
        {"vocab_size": 2**31 - 1},
        LEARN,
        "vocab_size is 21474836",
    ),
    (
        "model",
        "config.json",
        {"rms_norm_eps": 0},
        FIT,
        "rms_norm_eps is 0.0: a number ",
    ),
    (
        "model",
        "config.json",
        {"rms_norm_eps": float("nan")},
        FIT,
        "rms_norm_eps is nan",
    ),
    (
        "model",
        "config.json",
        {"rope_parameters": "x"},
        FIT,
        "rope_parameters is 'x': an",
    ),
    (
        "model",
        "config.json",
        {"rope_parameters": [1]},
        FIT,
        "rope_parameters is [1]: an",
    ),
    (
        "model",
        "config.json",
        {"rope_parameters": {"rope_theta": -1}},
        LEARN,
        "rope_parameters.rope_theta is -1.0: a number above 0 is needed",
    ),
    (
        "model",
        "config.json",
        {"layer_types": 5},
        FIT,
        "layer_types is 5: a tuple (in J",
    ),
    ("model", "tokenizer_config.json", b"[]", LEARN, "an object is needed, not []"),
    ("model", "generation_config.json", b"{", LEARN, "JSON is needed, and at column 2"),
    (
        "model",
        "model.safetensors.index.json",
        b'{"weight_map": {"a": 1}}',
        LEARN,
        "weight_map.a is 1: a text is needed",
    ),
]
# The same of what is no JSON, or where more than the file is named.
OTHER_FILES = [
    (
        "model",
        "tokenizer.json",
        b"\x00",
        LEARN,
        "model is '{w}': a readable tokenizer is",
    ),
    (
        "model",
        "model.safetensors",
        b"a",
        LEARN,
        "model is '{w}': model.safetensors cann",
    ),
    (
        "words",
        "adapter/adapter_model.safetensors",
        b"a",
        WORDS,
        "player is '{w}/adapter'",
    ),
    (
        "words",
        "config.json",
        {"game": 3},
        WORDS,
        "player is '{w}': a run of `aajax tra",
    ),
    (
        "words",
        "config.json",
        {"lora": {"a": 1}},
        WORDS,
        "player is '{w}': a run of `aa",
    ),
    (
        "run",
        "config.json",
        {"preset": ...},
        PLAY,
        "run is '{w}': one of small policies",
    ),
    (
        "run",
        "config.json",
        {"game": "coin"},
        LEAGUE,
        "checkpoints is '{w}/checkpoints'",
    ),
    (
        "run",
        "config.json",
        {"seeds": 3},
        LEAGUE,
        "checkpoints is '{w}/checkpoints': a ",
    ),
    (
        "run",
        "config.json",
        {"gama": 1},
        RESUME,
        "out is '{w}': it holds another run (g",
    ),
]

# The same in Python: what is called, and how the error begins.
CALLS = [
    (lambda: envs.make("chess"), "game is 'chess': one of ipd, "),
    (
        lambda: envs.make("ipd", width=3),
        "width is 3: game 'ipd' has no such option, only",
    ),
    (lambda: registry.make("go"), "game is 'go': one of ipd, chicken, stag-hunt, "),
    (
        lambda: registry.make("ipd", bata=3),
        "bata is 3: game 'ipd' has no such option, only",
    ),
    (
        lambda: Seating(past_share=2.0),
        "past_share is 2.0: a number in [0, 1] is needed",
    ),
    (lambda: LmConfig(options=["a=1"]), "options is ['a=1']: a tuple (in JSON, a li"),
    (lambda: LmConfig(lora=3), "lora is 3: an object is needed"),
    (lambda: leagues.play_league([]), "runs is [] and game None: at least one run, "),
    (lambda: leagues.league([]), "players is [] and game None: a run among them, or "),
    (lambda: leagues.league(["grim"]), "players is ['grim'] and game None: a run am"),
    (lambda: leagues.league([], game="ipd"), "players is []: at least one player is "),
    (lambda: leagues.league(["x"], game="ipd"), "players has 'x': one of always_"),
    (
        lambda: leagues.league(["grim"] * 2, game="ipd"),
        "players is ['grim', 'grim']: each is needed once",
    ),
    (
        lambda: leagues.league(["grim"], game="ipd", out=__file__),
        f"out is {__file__!r}: a folder to write to is needed (Not a directory)",
    ),
    (lambda: games.play(["x", "grim"], game="ipd"), "seats has 'x': one of always_c"),
    (
        lambda: games.play(["a.py:X", "grim"], game="ipd"),
        "seats has 'a.py:X': there is no file a.py",
    ),
    (
        lambda: leagues.play_league([], [], game="ipd"),
        "scripted is []: at least one player is",
    ),
]


@dataclasses.dataclass(frozen=True)
class Places:
    """Folders that rows name."""

    run: Path
    words: Path
    model: Path
    image: Path

    def fill(self, text, **more):
        for name, path in (vars(self) | more).items():
            text = text.replace(f"{{{name}}}", str(path))
        return text


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    places = Places(*(root / name for name in ("run", "words", "model", "image.bin")))
    with jax.numpy_dtype_promotion("standard"):
        arguments = f"train ipd {SMALL} --out {places.run}".split()
        assert cli.main(arguments) == 0
    tiny_folder(places.model)
    (places.model / "generation_config.json").write_text("{}")
    open_folder(places.words, "lm-ipd", LmConfig(model=places.model), resume=False)
    adapters = init_adapters(TINY, LORA, jax.random.key(0))
    save_peft(places.words / "adapter", TINY, LORA, adapters, "tiny")
    vocabulary = Vocabulary()
    save_matches(places.words / "matches.jsonl.gz", [match(0, vocabulary, 1)])
    places.image.write_bytes(b"\x89PNG\xff")
    return places


def contents(folder):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def check(capsys, arguments, line, folder):
    """One line on stderr, that begins so, code 2, and nothing new in the folder."""
    before = contents(folder)
    capsys.readouterr()
    with jax.numpy_dtype_promotion("standard"):
        code = cli.main(arguments)
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1 and said.endswith("\n")
    assert code == 2
    assert contents(folder) == before


def prefix(words):
    """What a line begins with: the command, without a preset or options."""
    return f"aajax {cli.command_name(words)}: "


def rows():
    for command, each in ROWS.items():
        for words, line in each:
            name = f"{command} {words}".strip()
            yield pytest.param(command, words, line, id=name)


@pytest.mark.parametrize(("command", "words", "line"), [*rows()])
def test_arguments(places, tmp_path, monkeypatch, capsys, command, words, line):
    monkeypatch.chdir(tmp_path)
    words, line = (places.fill(text, here=tmp_path) for text in (words, line))
    arguments = [*command.split(), *words.split()]
    if command:
        line = prefix(command.split()) + line
    check(capsys, arguments, line, tmp_path)


def damage(file, content):
    if isinstance(content, dict):
        record = json.loads(file.read_text()) | content
        record = {name: x for name, x in record.items() if x is not ...}
        content = json.dumps(record).encode()
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("folder", "file", "content", "words", "line"),
    [
        *[(*row[:4], f"file is {{w}}/{row[1]}: {row[4]}") for row in FILES],
        *OTHER_FILES,
    ],
)
def test_files(
    places, tmp_path, monkeypatch, capsys, folder, file, content, words, line
):
    here, copy = tmp_path / "here", tmp_path / folder
    here.mkdir()
    monkeypatch.chdir(here)
    shutil.copytree(getattr(places, folder), copy)
    damage(copy / file, content)
    words, line = (places.fill(text, w=copy, here=here) for text in (words, line))
    check(capsys, words.split(), prefix(words.split()) + line, tmp_path)


@pytest.mark.parametrize(("call", "line"), CALLS)
def test_calls(call, line):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_has_its_row(command):
    cls, default = OPTIONS[command]
    exempt = EXEMPT.get(command, set())
    missing = []
    for option in schema.options(cls, default):
        lines = [line for _, line in ROWS[command]]
        given = [words for words, _ in ROWS[command]]
        flag = "--" + option.name.replace("_", "-")
        is_refused = any(line.split()[0] == option.name for line in lines)
        if option.annotation is bool:
            is_refused = any(flag in words.split() for words in given)
        if not is_refused and option.name not in exempt:
            missing.append(option.name)
    assert missing == []
    names = {option.name for option in schema.options(cls, default)}
    assert exempt <= names


def test_there_are_many_rows():
    count = sum(map(len, ROWS.values())) + len(FILES) + len(OTHER_FILES) + len(CALLS)
    assert count >= 150
