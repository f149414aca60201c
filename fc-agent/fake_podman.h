// A stand-in for podman(1) in tests: a program linked with fake_podman.cc behaves as podman when its
// first argument is "--conmon", and as the agent's conmon when it is called by that name. The word
// behind "run" names a behaviour and the next the bundle:
//   "run"    has its conmon make the container, and ends
//   "slow"   does so, but goes on for 200 ms
//   "no-image" fails before it has asked for anything
//   "no-start" kills what was made, and fails
// With "start" it does as with "run" for the bundle "bundle" beside its conmon, and writes the id it was
// given to the file "started" there.
#pragma once

#include <string>

namespace fc_agent {

// What Podman::conmon is to be, in `directory`: a link to this program. Its socket is that name and
// ".sock".
std::string link_fake_conmon(const std::string& directory);

inline constexpr char kFakeContainerId[] =
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

}  // namespace fc_agent
