# What can be chosen, and the flags that follow from it.
set(SNAKEPIT_SANITIZE "" CACHE STRING "Sanitizers for everything that is built: address,undefined or thread; empty: none")
option(SNAKEPIT_FUZZ "Build the libFuzzer targets (clang)" OFF)
option(SNAKEPIT_COVERAGE "Build for a coverage report" OFF)
option(SNAKEPIT_WERROR "Warnings are errors" ON)
option(SNAKEPIT_EXAMPLES "Build the examples" ON)
option(SNAKEPIT_BENCH "Build the bench" ON)
# For those who make packages:
set(SNAKEPIT_PYTHON_SITE "" CACHE STRING "Folder below the prefix for snakepit_bridge, as lib/python3/dist-packages; empty: a private one beside the library")
set(SNAKEPIT_ZSH_FOLDER "site-functions" CACHE STRING "Folder below share/zsh for the completion; Debian's is vendor-completions")

set(default_python "python3")
if(EXISTS "${CMAKE_SOURCE_DIR}/.venv/bin/python")
    set(default_python "${CMAKE_SOURCE_DIR}/.venv/bin/python")
endif()
set(SNAKEPIT_PYTHON "${default_python}" CACHE STRING "The interpreter for which the extension is built and with which the tests run")

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wshadow -Wstrict-prototypes -fno-semantic-interposition -fno-omit-frame-pointer)
if(SNAKEPIT_WERROR)
    add_compile_options(-Werror)
endif()
# The library and the programs; tests do without, for cmocka's macros convert freely.
set(SNAKEPIT_STRICT -Wconversion -Wmissing-prototypes)

if(SNAKEPIT_SANITIZE)
    # Without the second option gcc's UBSan reports and exits with status 0.
    add_compile_options(-fsanitize=${SNAKEPIT_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${SNAKEPIT_SANITIZE})
endif()
if(SNAKEPIT_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(SNAKEPIT_COVERAGE)
    add_compile_options(--coverage -fprofile-update=atomic)
    add_link_options(--coverage)
endif()
