# Packages: `cmake --preset package && ninja -C build-package && cd build-package && cpack` makes Debian packages of what Install.cmake installs.
#   libsnakepit0   libsnakepit-dev   snakepit   python3-snakepit-bridge
set(CPACK_GENERATOR "DEB")
set(CPACK_PACKAGE_NAME "snakepit")
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_CONTACT "The Snakepit developers <snakepit@packages.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "supervised Python workers for C programs")
set(CPACK_RESOURCE_FILE_LICENSE "${CMAKE_SOURCE_DIR}/LICENSE")
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime devel program python)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE "1")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(whole_version "${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}")

# CPack gives every package the same first line.
function(snakepit_package component name section text depends recommends)
    string(TOUPPER "${component}" upper)
    set(CPACK_DEBIAN_${upper}_PACKAGE_NAME "${name}" PARENT_SCOPE)
    set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION "${section}" PARENT_SCOPE)
    set(CPACK_DEBIAN_${upper}_DESCRIPTION "${text}" PARENT_SCOPE)
    set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "${depends}" PARENT_SCOPE)
    set(CPACK_DEBIAN_${upper}_PACKAGE_RECOMMENDS "${recommends}" PARENT_SCOPE)
    # What Debian wants of every package: its licence, and its changes.
    set(doc "${CMAKE_BINARY_DIR}/debian/${name}")
    configure_file("${CMAKE_SOURCE_DIR}/cmake/debian/copyright.in" "${doc}/copyright" @ONLY)
    configure_file("${CMAKE_SOURCE_DIR}/cmake/debian/changelog.in" "${doc}/changelog.Debian" @ONLY)
    execute_process(COMMAND gzip -9nf "${doc}/changelog.Debian" COMMAND_ERROR_IS_FATAL ANY)
    install(FILES "${doc}/copyright" "${doc}/changelog.Debian.gz" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${name}" COMPONENT ${component})
endfunction()

if(SNAKEPIT_DEBIAN)
    file(READ "${CMAKE_SOURCE_DIR}/LICENSE" licence)
    string(REGEX REPLACE "\n\n" "\n.\n" licence "${licence}")
    string(REGEX REPLACE "\n" "\n " licence "${licence}")
    string(STRIP "${licence}" licence)
    execute_process(COMMAND date -R -u -d "${SNAKEPIT_DATE}" OUTPUT_VARIABLE debian_date OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    set(about "Snakepit lets a C program call Python as if it were a local function, while\nthe Python code runs in supervised worker processes of its own.")
    snakepit_package(runtime libsnakepit0 libs
        "${about}\n.\nThis package has the shared library, and the guard that owns the workers." "" "python3-snakepit-bridge")
    snakepit_package(devel libsnakepit-dev libdevel
        "${about}\n.\nThis package has the header, the static library and the manual pages." "libsnakepit0 (= ${whole_version})" "")
    snakepit_package(program snakepit utils
        "${about}\n.\nThis package has the command line." "libsnakepit0 (= ${whole_version}), python3-snakepit-bridge (= ${whole_version})" "")
    snakepit_package(python python3-snakepit-bridge python
        "${about}\n.\nThis package has what runs in a worker, with an extension for\nthe Python of the distribution." "python3 (>= 3.9)" "")
    configure_file("${CMAKE_SOURCE_DIR}/cmake/debian/shlibs.in" "${CMAKE_BINARY_DIR}/debian/shlibs" @ONLY)
    set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/cmake/debian/triggers;${CMAKE_BINARY_DIR}/debian/shlibs")
    set(CPACK_DEBIAN_PYTHON_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/cmake/debian/postinst;${CMAKE_SOURCE_DIR}/cmake/debian/prerm")
    # Debian's manual pages are compressed; the last word of each component's installation.
    foreach(component runtime devel program)
        install(CODE "set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}\")" COMPONENT ${component})
        install(SCRIPT "${CMAKE_SOURCE_DIR}/cmake/debian/compress.cmake" COMPONENT ${component})
    endforeach()
    install(CODE "execute_process(COMMAND sh -c \"find '\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${SNAKEPIT_PYTHON_SITE}' -name '*.so' -exec '${CMAKE_STRIP}' --strip-unneeded {} +\" COMMAND_ERROR_IS_FATAL ANY)" COMPONENT python)
endif()

include(CPack)
