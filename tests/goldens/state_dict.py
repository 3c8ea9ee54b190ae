"""A small network of PyTorch as its users save it: a state dict by `safetensors.torch`, with an input and what the network makes of it.

Writes state_dict.safetensors beside itself: the state dict, and `example.input` [n, c, h, w] and `example.output` in inference. The test builds
the same network and reads the file by the names of its layers. See README.md.
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, (3, 2), padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.grouped = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4)
        self.slopes = nn.PReLU(12)
        self.up = nn.ConvTranspose2d(12, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.norm = nn.GroupNorm(2, 6)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 3 * 4, 16), nn.Tanh(), nn.Linear(16, 5))

    def forward(self, x):
        x = self.slopes(self.grouped(self.stem(x)))
        return self.head(self.pool(self.norm(self.up(x))))


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    # A few steps, so that scales, shifts and running statistics aren't those of the beginning.
    for _ in range(5):
        loss = nn.functional.cross_entropy(model(torch.randn(16, 3, 6, 7) + 1), torch.randint(0, 5, (16,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.randn(4, 3, 6, 7) + 1
    with torch.no_grad():
        y = model.eval()(x)
    save_file({**model.state_dict(), "example.input": x, "example.output": y}, HERE / "state_dict.safetensors")


if __name__ == "__main__":
    main()
