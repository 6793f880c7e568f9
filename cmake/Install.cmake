# cmake --install: everything that a program which uses the library, or a person at a shell, needs. What is installed can be moved as a whole:
# library, guard, program, pkg-config file and CMake package find each other by relative paths; the compiled prefix is the last resort.
# Components (and packages, cmake/Packages.cmake):
#   runtime   libsnakepit.so.0, the guard            python    snakepit_bridge with its extension
#   devel     header, libsnakepit.so, .a, pkg-config file, CMake package, man pages 3
#   program   snakepit, completions, man page 1
include(CMakePackageConfigHelpers)
set(private_dir "${CMAKE_INSTALL_LIBDIR}/snakepit")

# ---- runtime ----
install(TARGETS snakepit_shared EXPORT snakepit
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT devel)
if(TARGET snakepit-guard)
    install(TARGETS snakepit-guard RUNTIME DESTINATION "${private_dir}" COMPONENT runtime)
    install(FILES "${CMAKE_SOURCE_DIR}/docs/man/snakepit-guard.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT runtime)
endif()

# ---- devel ----
install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/snakepit" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT devel FILES_MATCHING PATTERN "*.h")
install(FILES "${CMAKE_BINARY_DIR}/libsnakepit.a" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT devel)
# The archive is no target that CMake could strip itself.
install(CODE "if(CMAKE_INSTALL_DO_STRIP)
    execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug --enable-deterministic-archives \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libsnakepit.a\" COMMAND_ERROR_IS_FATAL ANY)
endif()" COMPONENT devel)

file(RELATIVE_PATH libdir_to_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    # pkg-config leaves out the compiler's own folders only when it can read them off.
    set(pkgconfig_prefix "/usr")
else()
    string(REGEX REPLACE "/$" "" pkgconfig_prefix "\${pcfiledir}/${libdir_to_prefix}")
endif()
configure_file("${CMAKE_SOURCE_DIR}/cmake/snakepit.pc.in" "${CMAKE_BINARY_DIR}/snakepit.pc" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/snakepit.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT devel)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/snakepit")
configure_package_config_file("${CMAKE_SOURCE_DIR}/cmake/snakepitConfig.cmake.in" "${CMAKE_BINARY_DIR}/cmake/snakepitConfig.cmake"
    INSTALL_DESTINATION "${package_dir}" PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file("${CMAKE_BINARY_DIR}/cmake/snakepitConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/cmake/snakepitConfig.cmake" "${CMAKE_BINARY_DIR}/cmake/snakepitConfigVersion.cmake"
    DESTINATION "${package_dir}" COMPONENT devel)
install(EXPORT snakepit NAMESPACE snakepit:: FILE snakepitTargets.cmake DESTINATION "${package_dir}" COMPONENT devel)

install(DIRECTORY "${CMAKE_BINARY_DIR}/man/man3" DESTINATION "${CMAKE_INSTALL_MANDIR}" COMPONENT devel)

# ---- program ----
if(TARGET snakepit)
    set(completion "${CMAKE_SOURCE_DIR}/cli/completion")
    install(TARGETS snakepit RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT program)
    install(FILES "${CMAKE_SOURCE_DIR}/docs/man/snakepit.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT program)
    install(FILES "${completion}/snakepit.bash" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" COMPONENT program RENAME snakepit)
    install(FILES "${completion}/_snakepit" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/${SNAKEPIT_ZSH_FOLDER}" COMPONENT program)
    install(FILES "${completion}/snakepit.fish" DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d" COMPONENT program)
endif()

# ---- python ----
if(TARGET snakepit_python)
    if(SNAKEPIT_PYTHON_SITE)
        set(python_dir "${SNAKEPIT_PYTHON_SITE}")
    else()
        set(python_dir "${private_dir}/python")
    endif()
    install(DIRECTORY "${CMAKE_BINARY_DIR}/python/snakepit_bridge" DESTINATION "${python_dir}" COMPONENT python
        PATTERN "__pycache__" EXCLUDE PATTERN "*.tmp" EXCLUDE)
    # Whoever runs the workers cannot write there, and without the compiled files every start of a worker compiles anew.
    if(NOT SNAKEPIT_DEBIAN) # there py3compile does it on the machine itself
        install(CODE "set(folder \"\${CMAKE_INSTALL_PREFIX}/${python_dir}/snakepit_bridge\")
execute_process(COMMAND \"${SNAKEPIT_PYTHON}\" -m compileall -q -d \"\${folder}\" \"\$ENV{DESTDIR}\${folder}\" COMMAND_ERROR_IS_FATAL ANY)" COMPONENT python)
    endif()
    if(SNAKEPIT_PYTHON_SITE)
        # The library looks beside itself: there it finds the package by a link.
        file(RELATIVE_PATH to_site "${CMAKE_INSTALL_FULL_LIBDIR}/snakepit/python" "${CMAKE_INSTALL_PREFIX}/${SNAKEPIT_PYTHON_SITE}")
        install(CODE "set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${private_dir}/python\")
file(MAKE_DIRECTORY \"\${folder}\")
file(CREATE_LINK \"${to_site}/snakepit_bridge\" \"\${folder}/snakepit_bridge\" SYMBOLIC)" COMPONENT python)
    endif()
endif()

if(NOT SNAKEPIT_DEBIAN)
    install(FILES "${CMAKE_SOURCE_DIR}/LICENSE" "${CMAKE_SOURCE_DIR}/CHANGELOG.md" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT licence)
endif()
