# Build recipe of the addon - every native/**/*.cc except tests and fuzz targets, as one module
# native/build/Release/uvs.node - and of the preload library of `uvs shim`. Run through
# scripts/build-native.mjs, which configures again when a source file appears or goes, because the
# list below is made at configure time.
{
  "targets": [
    {
      "target_name": "uvs",
      "sources": ["<!@(node list-sources.mjs)"],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        "NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS",
        # A thread that is being terminated can throw nothing any more; without this the attempt
        # ends the whole process.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      ],
      "cflags": [
        "-O3",
        # A packet passes a dozen source files: tunnels gain a tenth by it.
        "<!@(node lto-flags.mjs)",
        "-Wall",
        "-Wextra",
        "-Werror",
        # These three depend on how far a compiler's optimiser sees, so another release may report
        # what ours does not; such a guess must not stop a user's build.
        "-Wno-error=maybe-uninitialized",
        "-Wno-error=array-bounds",
        "-Wno-error=stringop-overflow",
        "-fvisibility=hidden",
        # For quoted includes only: limits.h here must not stand in for the system's <limits.h>.
        "-iquote <(module_root_dir)",
        # A system folder: its headers are not held to our warnings.
        "-isystem <!(node -p \"require('path').dirname(require.resolve('node-addon-api'))\")",
      ],
      # Node's own flags name an older language; ours must be the only one. -Wno-unused-parameter
      # comes from there too and would hide what the sanitizer build reports.
      "cflags!": ["-Wno-unused-parameter", "-std=gnu++17"],
      "cflags_cc!": ["-std=gnu++14", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fvisibility-inlines-hidden"],
      "ldflags": ["-O3", "<!@(node lto-flags.mjs)"],
      "conditions": [
        # One build runs on every 64-bit machine of the last fifteen years; wider instructions are
        # chosen by the code at run time, never by this file.
        ["target_arch=='x64'", {"cflags": ["-march=x86-64-v2"]}],
      ],
    },
    {
      # native/build/Release/ipvs_shim.so: lives in foreign programs, so it needs nothing but libc.
      "target_name": "ipvs_shim",
      "sources": ["shim/ipvs_shim.c"],
      "type": "shared_library",
      "product_prefix": "",
      "product_dir": "<(PRODUCT_DIR)",
      "cflags": ["-std=gnu11", "-Wall", "-Wextra", "-Werror"],
      "cflags!": ["-Wno-unused-parameter", "-std=gnu++17"],
      # Before glibc 2.34 dlsym() is in a library of its own.
      "ldflags": ["-Wl,--as-needed"],
      "libraries": ["-ldl"],
    }
  ]
}
